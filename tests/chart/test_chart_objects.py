"""What the chart renders is what a cluster takes: against the schemas of Kubernetes and of the custom kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import kubernetes_validate
import pytest
from helm_python import lint
from helm_python.errors import HelmError
from kubernetes_validate import utils

from tests.support.chart import CHART, NEEDED, Manifest, merged, rendered
from tests.support.chart_values import CLOSED, MATRIX, SCALED

KUBERNETES = ("1.29", "1.37")

CUSTOM = {
    "ScaledObject": "keda.v1alpha1",
    "TriggerAuthentication": "keda.v1alpha1",
    "ServiceMonitor": "prometheus_operator.v1",
    "PrometheusRule": "prometheus_operator.v1",
}
"""In which module of cloudcoil each schema is: thousands of classes, which every process of the tests would import."""


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """A version's definitions are megabytes of JSON, which would be read anew for each object."""
    with pytest.MonkeyPatch.context() as patched:
        for reading in (utils.schema_contents, utils.all_versions):
            patched.setattr(utils, reading.__name__, cache(reading))
        yield


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
    kind = manifest["kind"]
    model = getattr(import_module(f"cloudcoil.models.{CUSTOM[kind]}"), kind).model_validate(manifest)
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
        ({"workers": {"maxUnavailable": "0%"}}, "maxUnavailable"),
        ({"workers": {"terminationGracePeriodSeconds": 30}}, "killed before it has handed"),
        ({"pools": {"cpu": {"device": "cpu"}, "gpu-80": {"handBackSeconds": 50}}}, "pool gpu-80: .* killed before"),
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
