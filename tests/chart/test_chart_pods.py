"""What an operator's platform wants of pods, and of the secrets of what the chart brings along."""

from __future__ import annotations

from tests.support.chart import PREFIX, Manifest, environment_of, one, pod_of, rendered
from tests.support.chart_values import GITOPS, OPENSHIFT

WITH_PODS = ("Deployment", "StatefulSet", "Job")


def with_pods(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in WITH_PODS]


def test_every_pod_has_the_operators_labels_and_annotations_beside_its_own() -> None:
    plain = {each["metadata"]["name"]: each["spec"]["template"]["metadata"] for each in with_pods(rendered())}
    asked = with_pods(rendered(GITOPS))
    assert len(asked) == len(plain) == 7
    for each in asked:
        own, found = plain[each["metadata"]["name"]], each["spec"]["template"]["metadata"]
        # The selector's own label is not the operator's to change.
        assert found["labels"] == {**own["labels"], "team": "evaluations"}
        assert found["annotations"] == {**own.get("annotations", {}), "sidecar.istio.io/inject": "false"}


def test_a_secret_that_is_there_is_used_and_none_is_made() -> None:
    manifests = rendered(GITOPS)
    assert [each["metadata"]["name"] for each in manifests if each["kind"] == "Secret"] == []
    told = environment_of(one(manifests, "Deployment", "control"))
    assert (told["REPROFARM_DATABASE_URL"], told["REPROFARM_BROKER_URL"]) == ("farm-database/url", "farm-broker/url")
    assert (
        environment_of(one(manifests, "Deployment", "worker-gpu-80"))["REPROFARM_WORKER_BROKER_URL"]
        == "farm-broker/url"
    )
    assert environment_of(one(manifests, "StatefulSet", "database"))["POSTGRES_PASSWORD"] == "farm-database/password"
    assert environment_of(one(manifests, "Deployment", "broker"))["PASSWORD"] == "farm-broker/password"
    made = {each["metadata"]["name"] for each in rendered() if each["kind"] == "Secret"}
    assert made == {f"{PREFIX}-database", f"{PREFIX}-broker"}


def test_openshift_may_choose_the_users_of_what_the_chart_brings_along() -> None:
    manifests = rendered(OPENSHIFT)
    for kind, name in (("StatefulSet", "database"), ("Deployment", "broker")):
        said = pod_of(one(manifests, kind, name))["securityContext"]
        assert said["runAsNonRoot"] is True
        assert {said.get(key) for key in ("runAsUser", "runAsGroup", "fsGroup")} == {None}
    assert pod_of(one(rendered(), "StatefulSet", "database"))["securityContext"]["runAsUser"] == 999
