"""What rolls, drains and scales: nothing waits for ever for a GPU that is not there, nor for hours on a large pool."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

from scheduler.api.__main__ import STOP_SECONDS
from tests.support.chart import Manifest, merged, one, pod_of, rendered
from tests.support.chart_values import POOLS, SCALED
from workers.presence.probe import PATIENCE_SECONDS


def test_no_budget_stands_between_a_drain_and_workers_that_no_spare_gpu_waits_for() -> None:
    manifests = rendered(merged(SCALED, POOLS))
    guarded = [
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in manifests
        if each["kind"] == "PodDisruptionBudget"
    ]
    assert sorted(guarded) == ["api", "control"]


def test_pods_that_are_not_ready_hold_no_drain_up() -> None:
    budgets = [each["spec"] for each in rendered() if each["kind"] == "PodDisruptionBudget"]
    assert {each.get("unhealthyPodEvictionPolicy") for each in budgets} == {"AlwaysAllow"}


def test_a_pool_rolls_without_a_spare_gpu_and_in_parts() -> None:
    spec = one(rendered(), "Deployment", "worker-gpu-80")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "10%"}
    # Else each pod counts as available as soon as its container starts, and one that ends at once stops nothing.
    assert spec["minReadySeconds"] >= 10


def test_values_say_how_many_workers_are_replaced_at_a_time_and_each_pool_for_itself() -> None:
    values = {
        "workers": {"maxUnavailable": "30%"},
        "pools": {"gpu-24": {"memoryGib": 22}, "gpu-80": {"maxUnavailable": 8}},
    }
    manifests = rendered(values)
    found = {
        pool: one(manifests, "Deployment", f"worker-{pool}")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"]
        for pool in ("gpu-24", "gpu-80")
    }
    assert found == {"gpu-24": "30%", "gpu-80": 8}


def test_a_control_worker_that_ends_as_it_starts_replaces_none_that_works() -> None:
    spec = one(rendered(), "Deployment", "control")["spec"]
    # It has no readiness: without this it counts as available as soon as its container runs.
    assert spec["minReadySeconds"] >= 10
    # The default: none of two goes before another is there.
    assert "strategy" not in spec


def scaling_down(autoscaling: dict[str, Any]) -> Manifest:
    manifests = rendered(merged(SCALED, {"autoscaling": autoscaling}))
    scaled = one(manifests, "ScaledObject", "worker-gpu-80")["spec"]
    found: Manifest = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    return found


def test_a_pool_of_a_thousand_is_down_within_an_hour_or_so_and_a_small_one_goes_one_by_one() -> None:
    policies = scaling_down({})["policies"]

    def minutes(workers: int) -> int:
        passed = 0
        while workers > 1:
            fewest = [
                workers - each["value"] if each["type"] == "Pods" else math.floor(workers * (1 - each["value"] / 100))
                for each in policies
            ]
            workers, passed = min(fewest), passed + 1
        return passed

    assert minutes(1000) < 90
    assert minutes(5) == 4


def test_a_long_cooldown_is_no_longer_than_an_autoscaler_takes() -> None:
    assert scaling_down({"cooldownSeconds": 7200})["stabilizationWindowSeconds"] == 3600
    assert scaling_down({"cooldownSeconds": 60})["stabilizationWindowSeconds"] == 60


def test_a_workers_probe_asks_for_the_name_that_the_worker_has() -> None:
    (container,) = pod_of(one(rendered(), "Deployment", "worker-gpu-80"))["containers"]
    program, flag, module, name = container["livenessProbe"]["exec"]["command"]
    assert (program, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None
    assert container["args"][container["args"].index("--hostname") + 1] == f"{name}@%h"
    # What it waits for ends before the probe counts as failed for being slow.
    assert container["livenessProbe"]["timeoutSeconds"] >= 2 * PATIENCE_SECONDS


def test_an_api_is_ready_once_it_can_work_and_stays_to_say_what_is_missing_then() -> None:
    (container,) = pod_of(one(rendered(), "Deployment", "api"))["containers"]
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    # A database of the release's own is pulled, started and migrated meanwhile.
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 1800
    # Redis or PostgreSQL away is so for all of them: none would be left to be asked.
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_an_api_that_is_to_end_still_answers_those_who_do_not_know_yet() -> None:
    (container,) = pod_of(one(rendered(), "Deployment", "api"))["containers"]
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    # What follows has to fit into Kubernetes' default of 30 s.
    assert 2 <= int(seconds) <= 20 - STOP_SECONDS


def test_a_migration_that_failed_is_cleared_away_by_the_next() -> None:
    # Helm looks for one of the same name.
    names = [
        each["metadata"]["name"] for revision in (1, 2) for each in rendered(revision=revision) if each["kind"] == "Job"
    ]
    assert names == ["farm-reprofarm-migrate"] * 2
