"""What the chart tells the farm's programs is what they read; and nobody is told more than they need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.errors import HelmError
from typer.testing import CliRunner

from deploy.cli.main import app
from scheduler.settings import Settings
from specs.policy.rules import Policy, read_policy
from tests.support.chart import Manifest, environment_of, merged, notes, one, pod_of, rendered
from tests.support.chart_values import EXTERNAL, MATRIX, MONITORED, POOLS, SCALED, SHARED_FOLDER, TRACED
from workers.settings import WorkerSettings

WRONG = 3
"""What `reprofarm policy check` ends with where a file is no policy."""


def policy_in(manifests: list[Manifest], tmp_path: Path) -> Policy:
    file = tmp_path / "policy.yaml"
    file.write_text(one(manifests, "ConfigMap", "policy")["data"]["policy.yaml"])
    return read_policy(file)


def test_the_pools_of_the_policy_are_those_that_have_workers(tmp_path: Path) -> None:
    manifests = rendered(merged(POOLS, {"policy": {"publish": {"mode": "comment"}}}))
    policy = policy_in(manifests, tmp_path)
    assert policy.publish.mode == "comment"
    assert {(pool.name, pool.device, pool.gpus, pool.memory_gib) for pool in policy.pools} == {
        ("cpu", "cpu", 0, 64),
        ("gpu-80", "gpu", 8, 79.6),
    }
    for pool in policy.pools:
        worker = one(manifests, "Deployment", f"worker-{pool.name}")
        (container,) = pod_of(worker)["containers"]
        assert pool.queue in container["args"]
        assert container["resources"]["limits"].get("nvidia.com/gpu", 0) == pool.gpus


def test_a_pool_takes_what_it_leaves_out_from_the_defaults_and_no_pool_comes_unasked(tmp_path: Path) -> None:
    pools = {
        "gpu-24": {"memoryGib": 24, "nodeSelector": {"gpu": "l4"}},
        "gpu-80x8": {"gpus": 8, "replicas": 0, "tolerations": []},
        "cpu": {"device": "cpu", "memoryGib": 64},
    }
    manifests = rendered({"pools": pools, "poolDefaults": {"cacheSize": "1Ti"}})
    assert {(pool.name, pool.gpus, pool.memory_gib) for pool in policy_in(manifests, tmp_path).pools} == {
        ("gpu-24", 1, 24),
        ("gpu-80x8", 8, 79.6),
        ("cpu", 0, 64),
    }
    workers = {name: one(manifests, "Deployment", f"worker-{name}") for name in pools}
    assert {name: worker["spec"]["replicas"] for name, worker in workers.items()} == {
        "gpu-24": 1,
        "gpu-80x8": 0,
        "cpu": 1,
    }
    assert pod_of(workers["gpu-24"])["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "tolerations" not in pod_of(workers["gpu-80x8"])
    for worker in workers.values():
        (cache,) = (volume for volume in pod_of(worker)["volumes"] if volume["name"] == "cache")
        # A pod above a volume's limit is evicted within the second: the worker keeps to it by itself.
        assert cache == {"name": "cache", "emptyDir": {}}
        assert environment_of(worker)["REPROFARM_WORKER_CACHE_SIZE"] == "1TiB"


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_control_worker_and_api_read_their_settings(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = rendered(values)
    for name in ("control", "api"):
        told = environment_of(one(manifests, "Deployment", name))
        known = {f"REPROFARM_{field.upper()}" for field in Settings.model_fields}
        assert {each for each in told if each.startswith("REPROFARM_")} - known <= {"REPROFARM_HUB_OAUTH_CLIENT_SECRET"}
        for each, value in told.items():
            monkeypatch.setenv(each, value)
        settings = Settings()
        assert settings.public_url == "https://farm.example"
        assert str(settings.signing_key) == "/var/run/reprofarm/keys/signing.pem"


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_a_worker_reads_its_settings_and_is_told_nothing_else(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for manifest in rendered(values):
        if manifest["kind"] != "Deployment" or "-worker-" not in manifest["metadata"]["name"]:
            continue
        told = environment_of(manifest)
        for each, value in told.items():
            monkeypatch.setenv(each, value)
        known = {f"REPROFARM_WORKER_{field.upper()}" for field in WorkerSettings.model_fields}
        assert {each for each in told if each.startswith("REPROFARM_")} <= known | {"REPROFARM_JUDGE_KEY"}
        settings = WorkerSettings()
        assert manifest["metadata"]["name"].endswith(settings.pool)
        for secret in ("DATABASE", "SIGNING", "OAUTH", "WEBHOOK"):
            assert not [each for each in told if secret in each]
        names = {volume["name"] for volume in pod_of(manifest)["volumes"]}
        assert names <= {"cache", "state", "tmp", "shared-memory", "evidence", "trusted-ca"}
        grace = pod_of(manifest)["terminationGracePeriodSeconds"]
        assert float(told["REPROFARM_WORKER_HAND_BACK_SECONDS"]) + 15 <= grace


def test_a_pool_of_nodes_that_are_taken_away_may_have_less_time_to_hand_back() -> None:
    pools = {"spot": {"handBackSeconds": 10, "terminationGracePeriodSeconds": 25}, "gpu-80": {}}
    manifests = rendered({"pools": pools, "poolDefaults": {"terminationGracePeriodSeconds": 90}})
    workers = [one(manifests, "Deployment", f"worker-{pool}") for pool in pools]
    assert [environment_of(each)["REPROFARM_WORKER_HAND_BACK_SECONDS"] for each in workers] == ["10", "40"]
    assert [pod_of(each)["terminationGracePeriodSeconds"] for each in workers] == [25, 90]


def test_a_pool_whose_cache_holds_none_of_its_larger_models_is_refused() -> None:
    large = {"gpus": 8, "memoryGib": 79.6}
    with pytest.raises(HelmError, match="models of up to 637 GiB are sent to it, and its cacheSize of 200Gi"):
        rendered({"pools": {"gpu-80x8": large}})
    for enough in ({"cacheSize": "1Ti"}, {"cacheSize": "700G"}, {"cacheClaim": "models"}):
        rendered({"pools": {"gpu-80x8": {**large, **enough}}})
    with pytest.raises(HelmError, match="its cacheSize of 600Gi holds none of them"):
        rendered({"pools": {"gpu-80x8": {**large, "cacheClaim": "models", "cacheSize": "600Gi"}}})
    rendered({"pools": {"cpu": {"device": "cpu", "memoryGib": 512}}})


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_no_container_runs_as_root_or_writes_into_its_image(values: dict[str, Any]) -> None:
    for manifest in rendered(values):
        if manifest["kind"] not in ("Deployment", "StatefulSet", "Job"):
            continue
        pod = pod_of(manifest)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_a_release_that_is_called_reprofarm_does_not_set_settings_by_its_services() -> None:
    # Kubernetes tells pods of the service reprofarm-api by REPROFARM_API_PORT=tcp://…, unless they want no such links.
    told = [
        pod_of(each)
        for each in rendered()
        if each["kind"] in ("Deployment", "Job") and any("REPROFARM_" in name for name in environment_of(each))
    ]
    assert len(told) == 5
    assert {pod.get("enableServiceLinks") for pod in told} == {False}


def test_a_changed_policy_rolls_every_process_that_reads_it() -> None:
    def checksums(policy: dict[str, Any]) -> set[str]:
        manifests = rendered({"policy": policy})
        parts = [one(manifests, "Deployment", name) for name in ("control", "beat", "api")]
        return {each["spec"]["template"]["metadata"]["annotations"]["checksum/policy"] for each in parts}

    assert len(checksums({"version": 1})) == 1
    assert checksums({"version": 1}).isdisjoint(checksums({"version": 1, "publish": {"mode": "comment"}}))


@pytest.mark.parametrize(
    ("api", "is_guarded"),
    [
        ({"replicas": 1}, False),
        ({"replicas": 2}, True),
        # With autoscaling it is not `replicas` that says how many there are. A budget for a single one blocks a drain.
        ({"replicas": 2, "autoscaling": {"enabled": True, "minReplicas": 1}}, False),
        ({"replicas": 1, "autoscaling": {"enabled": True, "minReplicas": 2}}, True),
    ],
)
def test_a_disruption_budget_is_for_what_has_another_beside_it(api: dict[str, Any], is_guarded: bool) -> None:
    budgets = [each for each in rendered({"api": api}) if each["kind"] == "PodDisruptionBudget"]
    assert any(each["metadata"]["name"].endswith("-api") for each in budgets) == is_guarded


def test_who_tells_of_traces_is_told_where_and_workers_may_go_there() -> None:
    manifests = rendered(TRACED)
    for name in ("control", "api", "worker-gpu-80"):
        told = environment_of(one(manifests, "Deployment", name))
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring.svc:4318"
        assert told["OTEL_EXPORTER_OTLP_HEADERS"] == "collector/headers"
        assert told["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    egress = one(manifests, "NetworkPolicy", "worker")["spec"]["egress"]
    (rule,) = [each for each in egress if each["ports"][0]["port"] == 4318]
    assert rule["to"] == TRACED["tracing"]["workerEgressTo"]
    for manifest in rendered():
        if manifest["kind"] == "Deployment":
            (container,) = pod_of(manifest)["containers"]
            assert not [each for each in container.get("env", []) if each["name"].startswith("OTEL_")]


@pytest.mark.parametrize(("values", "hook"), [({}, "post-install,pre-upgrade"), (EXTERNAL, "pre-install,pre-upgrade")])
def test_tables_are_made_by_a_hook_with_a_command_that_exists(values: dict[str, Any], hook: str) -> None:
    job = one(rendered(values), "Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == hook
    (container,) = pod_of(job)["containers"]
    program, *command = container["args"]
    assert program == "reprofarm"
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0
    # Else no release could go back to the version before.
    assert command[-1] == "--newer-is-fine"


@pytest.mark.parametrize(("values", "hooks"), [({}, {"Sync"}), (EXTERNAL, set())])
def test_argo_cd_makes_the_tables_beside_the_bundled_database_and_not_before_it(
    values: dict[str, Any], hooks: set[str]
) -> None:
    manifests = rendered(values)
    job, given = one(manifests, "Job", "migrate"), one(manifests, "ConfigMap", "policy-check")
    for each in (job, given):
        annotations = each["metadata"]["annotations"]
        # It takes post-install,pre-upgrade for before anything else. Where it finds hooks of its own, those count.
        assert {annotations[name] for name in annotations if name == "argocd.argoproj.io/hook"} == hooks
        assert ("argocd.argoproj.io/hook-delete-policy" in annotations) is bool(hooks)
        # Its waves are Helm's weights, and what has neither is of the wave 0: the API, which is ready with the tables
        # only, is waited for together with the Job.
        assert "argocd.argoproj.io/sync-wave" not in annotations
    assert [int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in (given, job)] == [-1, 0]


@pytest.mark.parametrize("values", [{}, EXTERNAL])
@pytest.mark.parametrize("rules", [{"version": 1, "publish": {"mode": "comment"}}, {"version": 1, "wach": {}}])
def test_a_policy_is_checked_as_it_is_to_be_before_anything_of_the_release_is_replaced(
    values: dict[str, Any], rules: dict[str, Any], tmp_path: Path
) -> None:
    manifests = rendered(merged(values, {"policy": rules}))
    job, given = one(manifests, "Job", "migrate"), one(manifests, "ConfigMap", "policy-check")
    # The release's own is still the old one then.
    for name in ("helm.sh/hook", "helm.sh/hook-delete-policy"):
        assert given["metadata"]["annotations"][name] == job["metadata"]["annotations"][name]
    weights = [int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in (given, job)]
    assert weights[0] < weights[1]
    assert given["data"] == one(manifests, "ConfigMap", "policy")["data"]
    pod = pod_of(job)
    (check,) = pod["initContainers"]
    (mount,) = (each for each in check["volumeMounts"] if each["name"] == "policy")
    (volume,) = (each for each in pod["volumes"] if each["name"] == "policy")
    assert volume["configMap"]["name"] == given["metadata"]["name"]
    program, *command, file = check["args"]
    assert (program, file) == ("reprofarm", f"{mount['mountPath']}/policy.yaml")
    (tmp_path / "policy.yaml").write_text(given["data"]["policy.yaml"])
    done = CliRunner().invoke(app, [*command, str(tmp_path / "policy.yaml")])
    assert done.exit_code == (WRONG if "wach" in rules else 0)
    # To be told what is wrong takes no half hour of tries.
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule == {
        "action": "FailJob",
        "onExitCodes": {"containerName": check["name"], "operator": "In", "values": [WRONG]},
    }
    assert pod["restartPolicy"] == "Never"


def test_the_values_file_shows_every_value_once_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "helm" / "reprofarm" / "values.yaml").read_text()
    # A comment above every top-level group, or it explains itself.
    assert yaml.safe_load(text)["autoscaling"]["enabled"] is False
    assert not re.search(r"(?i)password: *\S", text)


def test_a_pool_says_of_what_capability_its_gpus_are_where_values_do(tmp_path: Path) -> None:
    said = policy_in(rendered(merged(POOLS, {"pools": {"gpu-80": {"computeCapability": 9.0}}})), tmp_path)
    assert {pool.name: pool.compute_capability for pool in said.pools} == {"cpu": None, "gpu-80": 9.0}


def test_pods_get_the_runtime_class_that_hands_out_their_gpus_and_by_default_the_clusters_own() -> None:
    named = pod_of(one(rendered(POOLS), "Deployment", "worker-gpu-80"))
    assert named["runtimeClassName"] == "nvidia"
    assert "runtimeClassName" not in pod_of(one(rendered({}), "Deployment", "worker-gpu-80"))


def test_the_notes_name_commands_and_workloads_that_exist_and_what_is_left_to_do() -> None:
    said, manifests = notes(), rendered()
    names = {f"deploy/{each['metadata']['name']}" for each in manifests if each["kind"] == "Deployment"}
    named = re.findall(r"exec (\S+) -- reprofarm (\w+)", said)
    assert {place for place, _ in named} <= names
    for command in {command for _, command in named} | {"pools"}:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
    assert "policy.budget sets no limit" in said
    assert "No alerts" in said
    limited = {"policy": {"budget": {"gpu_seconds_per_day": 1}}, "monitoring": {"prometheusRule": {"enabled": True}}}
    assert "sets no limit" not in notes(limited)
    assert "No alerts" not in notes(limited)


def test_the_notes_say_beforehand_what_becomes_of_workers_once_they_are_scaled() -> None:
    assert "it ends all workers of a pool but one first" in notes()
    assert "ends all workers" not in notes(SCALED)
    # What they warn of: a number that is named no more is 1 to Kubernetes.
    assert "replicas" in one(rendered(), "Deployment", "worker-gpu-80")["spec"]
    assert "replicas" not in one(rendered(SCALED), "Deployment", "worker-gpu-80")["spec"]


def test_the_notes_say_by_which_labels_prometheus_has_to_look() -> None:
    assert "serviceMonitorSelector" not in notes()
    said = notes(MONITORED)
    assert "{.spec.serviceMonitorSelector}{.spec.ruleSelector}" in said
    assert 'monitoring.serviceMonitor.labels: {"release":"prometheus"}' in said
    assert "monitoring.prometheusRule.labels: {}" in said


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_no_variable_is_said_twice(values: dict[str, Any]) -> None:
    # A server that applies what Helm 4 sends refuses that.
    for manifest in rendered(values):
        if manifest["kind"] not in ("Deployment", "StatefulSet", "Job"):
            continue
        (container,) = pod_of(manifest)["containers"]
        names = [each["name"] for each in container.get("env", [])]
        assert len(names) == len(set(names))


def test_what_the_chart_says_by_itself_no_setting_says_again() -> None:
    manifests = rendered(merged(EXTERNAL, TRACED))
    said = {name for part in ("control", "api") for name in environment_of(one(manifests, "Deployment", part))}
    said -= {"REPROFARM_API_HOST"}
    for name in sorted(each for each in said if each.startswith("REPROFARM_")):
        with pytest.raises(HelmError, match=name):
            rendered({"settings": {name: "other"}})
    for name in environment_of(one(manifests, "Deployment", "worker-gpu-80")):
        if not name.startswith("OTEL_"):
            with pytest.raises(HelmError, match=name):
                rendered({"pools": {"gpu-80": {"env": {name: "other"}}}})


def test_large_numbers_are_told_as_they_were_written(tmp_path: Path) -> None:
    values = {
        "settings": {"REPROFARM_API_EVENT_CLIENTS": 2_000_000, "REPROFARM_PUBLIC_READING": False},
        "pools": {"gpu-80": {"env": {"REPROFARM_WORKER_MAX_DATASET_ROWS": 1_000_000}}},
        "policy": {"budget": {"gpu_seconds_per_day": 86_400_000}},
    }
    manifests = rendered(values)
    told = environment_of(one(manifests, "Deployment", "api"))
    assert told["REPROFARM_API_EVENT_CLIENTS"] == "2000000"
    assert told["REPROFARM_PUBLIC_READING"] == "false"
    worker = environment_of(one(manifests, "Deployment", "worker-gpu-80"))
    assert worker["REPROFARM_WORKER_MAX_DATASET_ROWS"] == "1000000"
    assert policy_in(manifests, tmp_path).budget.gpu_seconds_per_day == 86_400_000


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-3g.40gb"])
def test_gpus_are_asked_for_by_their_resource_whatever_else_a_pool_asks_for(name: str) -> None:
    for resources in ({}, {"requests": {"cpu": "4"}}, {"limits": {"memory": "96Gi"}}):
        values = {"pools": {"gpu-80": {"resourceName": name, "gpus": 2, "resources": resources}}}
        (container,) = pod_of(one(rendered(values), "Deployment", "worker-gpu-80"))["containers"]
        assert {container["resources"][part][name] for part in ("requests", "limits")} == {2}
        for part, asked in resources.items():
            assert container["resources"][part] == {**asked, name: 2}


@pytest.mark.parametrize(
    ("size", "number"),
    [("200Gi", 200 * 2**30), ("1.5T", 1_500_000_000_000), ("90000000k", 90_000_000_000), ("100000000000", 10**11)],
)
def test_a_worker_understands_the_size_of_its_cache(size: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = environment_of(one(rendered({"pools": {"gpu-80": {"cacheSize": size}}}), "Deployment", "worker-gpu-80"))
    monkeypatch.setenv("REPROFARM_WORKER_CACHE_SIZE", told["REPROFARM_WORKER_CACHE_SIZE"])
    assert WorkerSettings().cache_size == number


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, None), ({"cacheClaim": "other", "cacheSize": "1Ti"}, "1TiB"), ({"cacheClaim": ""}, "700GiB")],
)
def test_a_shared_volume_is_a_disk_of_its_own_unless_its_pool_says_how_much_of_it(
    given: dict[str, Any], told: str | None
) -> None:
    # An elastic file system has 8 EiB by its own account.
    values = {"poolDefaults": {"cacheSize": "700Gi"}, "pools": {"gpu-80": given}}
    worker = environment_of(one(rendered(merged(POOLS, values)), "Deployment", "worker-gpu-80"))
    assert worker.get("REPROFARM_WORKER_CACHE_SIZE") == told


def test_the_api_reads_evidence_and_writes_none() -> None:
    def mount(part: str) -> dict[str, Any]:
        (container,) = pod_of(one(rendered(SHARED_FOLDER), "Deployment", part))["containers"]
        (found,) = (each for each in container["volumeMounts"] if each["name"] == "evidence")
        return dict(found)

    assert mount("api")["readOnly"] is True
    assert "readOnly" not in mount("worker-gpu-80")


def test_the_databases_parallel_queries_have_memory_to_share() -> None:
    (container,) = pod_of(one(rendered(), "StatefulSet", "database"))["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == "/dev/shm")  # noqa: S108
    (volume,) = (
        each for each in pod_of(one(rendered(), "StatefulSet", "database"))["volumes"] if each["name"] == mount["name"]
    )
    assert volume["emptyDir"]["medium"] == "Memory"
