"""Who in a release sees which key: the private one the control worker alone, the public ones the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.badges.key_rotation import announce, retire, rotate
from scheduler.badges.signing import public_jwks
from scheduler.settings import Settings
from tests.support.chart import Manifest, environment_of, one, pod_of, rendered
from tests.support.chart_values import EXTERNAL


def test_only_the_control_worker_sees_the_private_key_and_the_token_that_writes() -> None:
    manifests = rendered(EXTERNAL)
    holders = [
        each["metadata"]["name"]
        for each in manifests
        if each["kind"] in ("Deployment", "Job") and "hub/token" in environment_of_any(each)
    ]
    assert holders == ["farm-reprofarm-control"]
    whole = [
        each["metadata"]["name"]
        for each in manifests
        if each["kind"] in ("Deployment", "Job")
        for volume in pod_of(each)["volumes"]
        if volume.get("secret", {}).get("secretName") == "signing"
    ]
    assert whole == ["farm-reprofarm-control"]


@pytest.mark.parametrize("is_retired", [False, True])
def test_the_api_lists_announced_and_retired_keys_and_sees_no_private_one(tmp_path: Path, *, is_retired: bool) -> None:
    settings = Settings(signing_key=tmp_path / "keys" / "signing.pem", retired_keys=tmp_path / "keys" / "retired")
    rotate(settings, at_once=True)
    rotate(settings, at_once=True)
    if is_retired:
        # With none in its place.
        retire(settings)
    else:
        announce(settings)
    secret = {each.name: each.read_bytes() for each in (tmp_path / "keys").iterdir() if each.is_file()}
    retired = {each.name: each.read_bytes() for each in settings.retired_keys.iterdir()}
    seen = tmp_path / "seen"
    api = one(rendered(), "Deployment", "api")
    mounts = mounted(api, {"signing": secret, "retired-keys": retired})
    for path, content in mounts.items():
        (seen / path).parent.mkdir(parents=True, exist_ok=True)
        (seen / path).write_bytes(content)
    told = environment_of(api)
    places = {name: seen / told[f"REPROFARM_{name}"].lstrip("/") for name in ("SIGNING_KEY", "RETIRED_KEYS")}
    listed = public_jwks(Settings(signing_key=places["SIGNING_KEY"], retired_keys=places["RETIRED_KEYS"]))
    assert listed == public_jwks(settings)
    assert len(listed["keys"]) == (2 if is_retired else 3)
    assert not list(seen.rglob("*.pem"))


def mounted(manifest: Manifest, contents: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    """Files of a pod's volumes from these secrets and ConfigMaps, by path, as Kubernetes projects them."""
    (container,) = pod_of(manifest)["containers"]
    found: dict[str, bytes] = {}
    for mount in container["volumeMounts"]:
        (volume,) = (each for each in pod_of(manifest)["volumes"] if each["name"] == mount["name"])
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            ((kind, taken),) = ((kind, each) for kind, each in source.items() if kind != "name")
            if kind not in ("secret", "configMap"):
                continue
            content = contents.get(taken.get("secretName") or taken["name"], {})
            for item in taken.get("items", [{"key": key, "path": key} for key in content]):
                if item["key"] in content or not taken.get("optional"):
                    found[f"{mount['mountPath'].lstrip('/')}/{item['path']}"] = content[item["key"]]
    return found


def environment_of_any(manifest: Manifest) -> list[str]:
    (container,) = pod_of(manifest)["containers"]
    return list(environment_of(manifest).values()) if container.get("env") else []
