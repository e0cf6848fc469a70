"""A cluster with a proxy, authorities, a registry and nodes of its own: every pod of the farm is told of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broken_tls import broken_tls
from tests.support.chart import Manifest, environment_of, one, pod_of, rendered
from tests.support.chart_values import SITED

WORKLOADS = ("Deployment", "StatefulSet", "Job")
OF_OTHERS = ("farm-reprofarm-database", "farm-reprofarm-broker")
WORKER = "farm-reprofarm-worker-gpu-80"
BUNDLE = "/etc/ssl/reprofarm/ca.crt"


def workloads() -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in rendered(SITED) if each["kind"] in WORKLOADS}


def test_every_pod_is_pulled_with_the_registrys_secret() -> None:
    found = workloads()
    assert set(OF_OTHERS) < set(found)
    for name, each in found.items():
        assert pod_of(each).get("imagePullSecrets") == [{"name": "registry"}], name


def test_what_needs_no_gpu_runs_where_it_is_said_to_and_workers_where_their_pool_is() -> None:
    for name, each in workloads().items():
        pod = pod_of(each)
        if name == WORKER:
            assert pod["priorityClassName"] == "batch"
            assert "nodeSelector" not in pod
            continue
        assert pod["nodeSelector"] == {"node": "plain"}
        assert {"key": "plain", "operator": "Exists"} in pod["tolerations"]
        assert pod["affinity"] == {"podAntiAffinity": {}}
        assert pod["priorityClassName"] == "important"


def test_beat_leaves_a_lost_node_before_control_workers_are_taken_for_stuck() -> None:
    tolerations = pod_of(one(rendered(), "Deployment", "beat"))["tolerations"]
    assert {each["tolerationSeconds"] for each in tolerations if each["effect"] == "NoExecute"} == {30}
    assert len(tolerations) == 2


def test_two_of_a_kind_are_on_two_nodes_if_that_can_be() -> None:
    for part in ("control", "api"):
        (constraint,) = pod_of(one(rendered(), "Deployment", part))["topologySpreadConstraints"]
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == part


def test_every_process_of_the_farm_knows_the_proxy_and_the_authorities() -> None:
    for name, each in workloads().items():
        if name in OF_OTHERS:
            continue
        told = environment_of(each)
        assert told["HTTPS_PROXY"] == "http://proxy.example:3128"
        # A pool's own word wins.
        assert told["NO_PROXY"] == (".svc" if name == WORKER else ".svc,10.0.0.0/8")
        assert {told[each] for each in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")} == {BUNDLE}
        (container,) = pod_of(each)["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert BUNDLE.startswith(mounted["trusted-ca"])
        (volume,) = (volume for volume in pod_of(each)["volumes"] if volume["name"] == "trusted-ca")
        assert volume["configMap"]["name"] == "authorities"


@pytest.mark.parametrize(
    ("client", "variable"),
    [
        ("from huggingface_hub.utils import get_session as s; s().get", "SSL_CERT_FILE"),
        ("import requests; requests.get", "REQUESTS_CA_BUNDLE"),
    ],
)
def test_clients_trust_whom_they_are_told_to(client: str, variable: str, tmp_path: Path) -> None:
    def said(**environment: str) -> str:
        with broken_tls(tmp_path) as (url, _):
            command = [sys.executable, "-c", f"{client}({url!r})"]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], **environment}
            )
        return done.stderr

    assert "CERTIFICATE_VERIFY_FAILED" in said()
    # Each time with a certificate of its own, which is there before anybody reads it.
    assert "CERTIFICATE_VERIFY_FAILED" not in said(**{variable: str(tmp_path / "certificate.pem")})
