"""Values that the chart is tried with: what a site may ask of it."""

from __future__ import annotations

from typing import Any

from tests.support.chart import merged

MONITORED = {
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    }
}
CLOSED = {
    "settings": {"REPROFARM_PUBLIC_READING": "false", "REPROFARM_PUBLIC_METRICS": "false"},
    "autoscaling": {"enabled": True, "tokenSecret": "reader"},
    "monitoring": {"serviceMonitor": {"enabled": True, "tokenSecret": "reader"}},
}
SCALED = {"autoscaling": {"enabled": True}, "api": {"autoscaling": {"enabled": True}}}
POOLS = {
    "pools": {
        "cpu": {
            "device": "cpu",
            "gpus": 0,
            "memoryGib": 64,
            "replicas": 2,
            "minReplicas": 0,
            "maxReplicas": 9,
            "resources": {"requests": {"cpu": "8"}, "limits": {"memory": "64Gi"}},
            "sharedMemory": "1Gi",
            "cacheSize": "50Gi",
        },
        "gpu-80": {
            "gpus": 8,
            "runtimeClassName": "nvidia",
            "nodeSelector": {"gpu": "h100"},
            "cacheClaim": "models",
            "podLabels": {"kueue.x-k8s.io/queue-name": "evaluations"},
            "env": {"VLLM_BATCH_INVARIANT": "1"},
        },
    }
}
NUMBERED = merged(SCALED, {"pools": {"80": {}, "true": {}}})
"""Names of pools that YAML reads as something else than text."""

EXTERNAL = {
    "database": {"urlSecret": "postgres"},
    "broker": {"urlSecret": "redis"},
    "postgresql": {"enabled": False},
    "redis": {"enabled": False},
    "hub": {"tokenSecret": "hub", "workerTokenSecret": "hub-reader"},
    "evidence": {"credentialsSecret": "s3"},
    "signing": {"retiredKeysConfigMap": "retired"},
    "images": {"control": {"digest": "sha256:" + "a" * 64}, "pullSecrets": [{"name": "registry"}]},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/farm"}},
}
EXPOSED = {
    "api": {
        "ingress": {"enabled": True, "host": "farm.example", "className": "nginx", "tlsSecret": "tls"},
        "secretEnv": [{"name": "REPROFARM_HUB_OAUTH_CLIENT_SECRET", "secret": "oauth", "key": "secret"}],
    },
    "workers": {"secretEnv": [{"name": "REPROFARM_JUDGE_KEY", "secret": "judges", "key": "openai"}]},
    "networkPolicies": {
        "apiFrom": [{"namespaceSelector": {}}],
        "workerEgressCidrs": ["203.0.113.0/24"],
        "workerEgressTo": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "minio"}}}],
        "workerEgressToPorts": [9000],
    },
}
TRACED = {
    "tracing": {
        "endpoint": "http://collector.monitoring.svc:4318",
        "headersSecret": "collector",
        "env": {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": 0.1},
        "workerEgressTo": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    }
}
SITED = {
    "env": {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": ".svc,10.0.0.0/8"},
    "trustedCaConfigMap": "authorities",
    "images": {"pullSecrets": [{"name": "registry"}]},
    "scheduling": {
        "nodeSelector": {"node": "plain"},
        "tolerations": [{"key": "plain", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "important",
    },
    "pools": {"gpu-80": {"priorityClassName": "batch", "env": {"NO_PROXY": ".svc"}}},
}
GITOPS = {
    "postgresql": {"existingSecret": "farm-database"},
    "redis": {"existingSecret": "farm-broker"},
    "podLabels": {"team": "evaluations", "app.kubernetes.io/component": "mine"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
}
OPENSHIFT = {
    part: {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    for part in ("postgresql", "redis")
}
SHARED_FOLDER = {"evidence": {"url": "file:///evidence", "existingClaim": "evidence"}}
BARE = {
    "networkPolicies": {"enabled": False},
    "podDisruptionBudgets": {"enabled": False},
    "control": {"replicas": 1},
    "fullnameOverride": "farm-reprofarm",
}

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "monitored": MONITORED,
    "scaled": SCALED,
    "closed": CLOSED,
    "pools": POOLS,
    "numbered": NUMBERED,
    "external": EXTERNAL,
    "exposed": EXPOSED,
    "traced": TRACED,
    "sited": SITED,
    "shared folder": SHARED_FOLDER,
    "gitops": GITOPS,
    "openshift": OPENSHIFT,
    "bare": BARE,
    "everything": merged(MONITORED, SCALED, POOLS, EXTERNAL, EXPOSED, TRACED, SITED),
}
