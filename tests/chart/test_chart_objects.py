"""What the chart renders is what a cluster takes: against the schemas of Kubernetes and of the custom kinds."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from helm_python import lint
from helm_python.errors import HelmError

from tests.support.chart import CHART, NEEDED, Manifest, merged, rendered

KUBERNETES = ("1.29", "1.37")

CUSTOM = {
    "ScaledObject": ScaledObject,
    "TriggerAuthentication": TriggerAuthentication,
    "ServiceMonitor": ServiceMonitor,
    "PrometheusRule": PrometheusRule,
}

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
    "networkPolicies": {"apiFrom": [{"namespaceSelector": {}}], "workerEgressCidrs": ["203.0.113.0/24"]},
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


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_object_is_one_that_kubernetes_takes(values: dict[str, Any]) -> None:
    manifests = rendered(values)
    assert manifests
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            _check_custom(manifest)
        else:
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)


def _check_custom(manifest: Manifest) -> None:
    """Its own schema takes it, and knows every field of it: one that it does not know is dropped on the way."""
    model = CUSTOM[manifest["kind"]].model_validate(manifest)
    assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == manifest


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_chart_is_clean_to_helms_lint(values: dict[str, Any]) -> None:
    report = lint(CHART, merged(NEEDED, values), strict=True, namespace="eval")
    assert report["errors"] == []
    # All that it may say: that the chart has no icon.
    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"publicUrl": ""}, "badges name it for ever"),
        ({"signing": {"keySecret": ""}}, "without it no badge can be"),
        ({"evidence": {"url": "file:///evidence"}}, "evidence.existingClaim is needed"),
        ({"postgresql": {"enabled": False}}, "database.urlSecret is needed"),
        ({"redis": {"enabled": False}}, "broker.urlSecret is needed"),
        ({"policy": {"pools": []}}, "policy.pools follows from `pools`"),
        (merged(CLOSED, {"autoscaling": {"tokenSecret": ""}}), "autoscaling.tokenSecret is needed"),
        ({"api": {"ingress": {"enabled": True}}}, "api.ingress.host is needed"),
        (merged(SCALED, {"pools": {"gpu-80": {"minReplicas": 5}}}), "minReplicas is above maxReplicas"),
        (merged(SCALED, {"pools": {"gpu-80": {"maxReplicas": 0}}}), "maxReplicas"),
        (
            merged(SCALED, {"fullnameOverride": "f" * 40, "pools": {"a-pool-of-fat-gpus": {}}}),
            "shorter fullnameOverride",
        ),
        ({"workers": {"terminationGracePeriodSeconds": 30}}, "killed before it has handed"),
        ({"replicas": 3}, "replicas"),
        ({"pools": {"gpu-80": {"gpus": 0}}}, "gpus"),
        ({"pools": {"Not A Name": {}}}, "Not A Name"),
        ({"settings": {"REPROFARM_HUB_TOKEN": "hf_secret"}}, "REPROFARM_HUB_TOKEN"),
        (
            {"workers": {"secretEnv": [{"name": "REPROFARM_HUB_TOKEN", "secret": "s", "key": "k"}]}},
            "REPROFARM_HUB_TOKEN",
        ),
        ({"images": {"gpu": {"digest": "latest"}}}, "digest"),
        ({"images": {"pullSecrets": ["registry"]}}, "pullSecrets"),
        ({"pools": {"gpu-": {}}}, "gpu-"),
        ({"pools": {"gpu-80": {"nodeSelector": {"gpu": True}}}}, "nodeSelector"),
        ({"settings": {"REPROFARM_PUBLIC_URL": "https://other.example"}}, "REPROFARM_PUBLIC_URL"),
        ({"pools": {"gpu-80": {"env": {"REPROFARM_WORKER_POOL": "other"}}}}, "REPROFARM_WORKER_POOL"),
        ({"api": {"autoscaling": {"enabled": True, "minReplicas": 0}}}, "minReplicas"),
        ({"api": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "minReplicas is above maxReplicas"),
        ({"control": {"threads": 0}}, "threads"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_installed(values: dict[str, Any], says: str) -> None:
    with pytest.raises(HelmError, match=says):
        rendered(values)
