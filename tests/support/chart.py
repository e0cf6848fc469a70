"""The Helm chart, rendered by a real Helm engine, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

CHART = Path(__file__).parents[2] / "helm" / "reprofarm"
RELEASE = "farm"
PREFIX = "farm-reprofarm"

NEEDED: dict[str, Any] = {
    "publicUrl": "https://farm.example",
    "signing": {"keySecret": "signing"},
    "evidence": {"url": "s3://bucket/evidence"},
}
"""What the chart cannot guess."""

Manifest = dict[str, Any]


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Values over one another, as Helm takes several files."""
    found: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            inner = found.get(key)
            found[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return found


def rendered(values: dict[str, Any] | None = None, **options: Any) -> list[Manifest]:
    """Every object that the chart makes of values over those that it needs."""
    texts = _chart().render(merged(NEEDED, values or {}), name=RELEASE, namespace="eval", **options)
    return list(_objects(texts))


def notes(values: dict[str, Any] | None = None) -> str:
    """What an operator is told once it is installed."""
    texts: dict[str, str] = _chart().render(merged(NEEDED, values or {}), name=RELEASE, namespace="eval")
    return next(text for path, text in texts.items() if path.endswith("NOTES.txt"))


@cache
def _chart() -> Chart:
    return Chart.load(CHART)


def _objects(texts: dict[str, str]) -> Iterator[Manifest]:
    for path, text in sorted(texts.items()):
        if not path.endswith("NOTES.txt"):
            # By libyaml, ten times as fast as PyYAML's own reader; tests render the chart hundreds of times.
            yield from (found for found in yaml.load_all(text, yaml.CSafeLoader) if found)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The object of that kind and name, without the release's prefix."""
    wanted = (kind, f"{PREFIX}-{name}" if name else PREFIX)
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == wanted)
    return found


def pod_of(manifest: Manifest) -> Manifest:
    """The pod's spec of a Deployment, StatefulSet or Job."""
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def environment_of(manifest: Manifest) -> dict[str, str]:
    """Of its container: values as they are, and of references `secret/key`."""
    (container,) = pod_of(manifest)["containers"]
    return {each["name"]: each["value"] if "value" in each else _reference(each) for each in container["env"]}


def _reference(variable: Manifest) -> str:
    source = variable["valueFrom"]["secretKeyRef"]
    return f"{source['name']}/{source['key']}"
