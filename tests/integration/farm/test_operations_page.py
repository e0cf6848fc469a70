"""docs/operations.md, followed word for word on a fresh folder; what needs a cluster is held against the chart."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.support.chart import PREFIX, RELEASE, merged, pod_of, rendered
from tests.support.chart_values import SCALED
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import running_hub
from tests.support.waiting import PROCESS_PATIENCE_SECONDS
from workers.processes.ports import free_port

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "operations.md").read_text()
BLOCKS = [(token.info, token.content) for token in MarkdownIt().parse(PAGE) if token.type == "fence"]
RUN = [content for info, content in BLOCKS if info == "sh"]
ONLY_READ = "\n".join(content for info, content in BLOCKS if info != "sh").replace("\\\n", " ")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the page was followed, and what the commands said."""
    folder = tmp_path_factory.mktemp("fresh")
    with running_hub(folder / "hub") as served:
        add_benchmark(served.local, "acme/bench")
        submit(served.local, add_model(served.local, "tiny/model"), entry("acme/bench", 50))
        script = folder / "page.sh"
        stop = 'kill -TERM "$FARM" && wait "$FARM" || true\n'
        said = [f'echo "== {number}"\n{content}' for number, content in enumerate(RUN, 1)]
        script.write_text("set -eu\n" + "\n".join(said) + stop)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REPROFARM_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HUB": served.url,
            "PORT": str(free_port()),
            # Nothing is run here: what engines and runs are forked from would import for a minute of a core.
            "REPROFARM_WORKER_PREPARE": "false",
        }
        with (folder / "said").open("wb") as said_to:
            process = subprocess.Popen(
                ["bash", str(script)],
                cwd=folder,
                env=environment,
                stdout=said_to,
                stderr=said_to,
                start_new_session=True,
            )
            try:
                status = process.wait(PROCESS_PATIENCE_SECONDS)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait(60)
        text = (folder / "said").read_text()
        assert status == 0, text + (folder / "farm.log").read_text()
        return folder, text


def test_the_page_can_be_followed_from_the_first_command_to_the_last(followed: tuple[Path, str]) -> None:
    _, said = followed
    assert len(RUN) >= 5
    assert f"== {len(RUN)}" in said


def test_the_backup_has_the_database_the_keys_and_the_evidence(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    assert (folder / "backup" / "reprofarm.db").stat().st_mode & 0o077 == 0
    assert (folder / "backup" / "keys" / "signing.pem").exists()
    assert (folder / "backup" / "evidence").is_dir()
    assert (folder / "lost" / "reprofarm.db").exists()


def test_after_the_restore_the_key_that_was_rotated_stays_listed(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    retired = list((folder / "farm" / "keys" / "retired").glob("*.json"))
    assert len(retired) == 1
    assert json.loads(retired[0].read_text())["crv"] == "Ed25519"


def test_every_value_that_helm_is_given_is_one_of_the_charts() -> None:
    (text,) = (content for info, content in BLOCKS if info == "yaml")
    values = yaml.safe_load(text)
    assert len(values) >= 7
    names = {manifest["metadata"]["name"] for manifest in rendered(values)}
    assert {f"{PREFIX}-worker-{pool}" for pool in values["pools"]} <= names
    for kind, name in re.findall(rf"\b(deployment|secret)/({PREFIX}[\w-]+)", ONLY_READ):
        assert name in names, f"{kind} {name}"


def test_prometheus_finds_figures_and_alerts_of_the_installation() -> None:
    (text,) = (content for info, content in BLOCKS if info == "yaml")
    # kube-prometheus-stack looks for its own release, by that label alone.
    released = [
        each["metadata"]["labels"]["release"]
        for each in rendered(yaml.safe_load(text))
        if each["kind"] in ("ServiceMonitor", "PrometheusRule")
    ]
    assert released == ["kube-prometheus-stack"] * 2


def test_an_upgrade_loses_no_value_of_the_installation() -> None:
    # Helm forgets what --set gave before as soon as an upgrade names a file.
    installing = [line for line in ONLY_READ.splitlines() if line.startswith("helm ")]
    # Beside a file it only adds to that.
    plain = [re.sub(r"#.*|--force-conflicts|--server-side=true|--set \S+", "", line).strip() for line in installing]
    said = {line.split(" ", 2)[2] for line in plain}
    assert said == {"farm helm/reprofarm --values values.yaml"}


def test_an_upgrade_replaces_the_control_plane_before_the_workers() -> None:
    (text,) = (content for info, content in BLOCKS if info == "yaml")
    first, then = re.findall(r"^helm upgrade farm .*values\.yaml(?: --set (\S+))?$", ONLY_READ, re.MULTILINE)
    kept = [each.partition("=") for each in first.split(",")]
    images: dict[str, dict[str, str]] = {}
    for name, _, value in kept:
        part, kind, key = name.split(".")
        assert part == "images"
        images[kind] = {key: value}
    assert then == ""
    pools = {"pools": {"cpu": {"device": "cpu"}, "gpu-24": {"memoryGib": 22}}}
    old = {
        each["metadata"]["name"]
        for each in rendered(merged(yaml.safe_load(text), pools, {"images": images}))
        if each["kind"] in ("Deployment", "Job") and pod_of(each)["containers"][0]["image"].endswith(":OLD")
    }
    assert old == {f"{PREFIX}-worker-{pool}" for pool in ("cpu", "gpu-24", "gpu-80", "gpu-80x8")}


def test_a_restore_on_a_cluster_waits_for_the_pods_that_write_to_the_database() -> None:
    components = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in rendered()
        if each["kind"] == "Deployment"
    }
    (selector,) = re.findall(r"kubectl wait --for=delete pod -l '.*component in \(([\w,]+)\)'", ONLY_READ)
    assert set(selector.split(",")) == components - {"broker"}


def test_of_what_keda_scales_only_the_releases_own_is_paused() -> None:
    manifests = rendered(SCALED)
    scaled = [each for each in manifests if each["kind"] == "ScaledObject"]
    deployments = {each["metadata"]["name"]: each["metadata"] for each in manifests if each["kind"] == "Deployment"}
    asked = re.findall(r"kubectl annotate scaledobject (-l \S+|\S+)", ONLY_READ)
    assert len(asked) == 4
    assert set(asked) == {'"$name"', f"-l app.kubernetes.io/instance={RELEASE}"}
    (selector,) = set(re.findall(r"kubectl get deployment -l ([^'\s]+)", ONLY_READ))
    wanted = dict(label.split("=") for label in selector.split(","))
    workers = {name for name, each in deployments.items() if wanted.items() <= each["labels"].items()}
    assert {each["metadata"]["name"] for each in scaled} == workers
    assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in scaled} == {RELEASE}


def test_the_keys_of_a_cluster_are_put_where_the_chart_looks_for_them() -> None:
    chart = yaml.safe_load((PROJECT / "helm" / "reprofarm" / "values.yaml").read_text())
    (retired,) = re.findall(r"kubectl create configmap (\S+) --from-file=signing/keys/retired", ONLY_READ)
    assert retired == chart["signing"]["retiredKeysConfigMap"]


def test_the_values_and_times_of_the_text_are_the_charts() -> None:
    chart = yaml.safe_load((PROJECT / "helm" / "reprofarm" / "values.yaml").read_text())
    assert f"`workers.handBackSeconds` ({chart['workers']['handBackSeconds']} s)" in PAGE
    grace = chart["workers"]["terminationGracePeriodSeconds"]
    assert f"`workers.terminationGracePeriodSeconds` ({grace} s)" in PAGE
    assert grace >= chart["workers"]["handBackSeconds"] + 15


def test_every_service_that_compose_is_asked_for_exists() -> None:
    services = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())["services"]
    for name in re.findall(r"docker compose (?:run --rm(?: --no-deps)?|exec(?: -T)?|stop) (\w+)", PAGE):
        assert name in services


def test_what_mounts_a_file_by_compose_is_started_again_once_that_has_changed() -> None:
    services = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())["services"]
    # What runs to its end is started by each `up`.
    staying = {name: each for name, each in services.items() if each.get("restart") != "no"}
    mounting = {name for name, each in staying.items() if any(file.startswith(".") for file in each.get("volumes", []))}
    (policy,) = re.findall(
        r"docker compose run --rm policy && docker compose restart ([\w ]+)$", ONLY_READ, re.MULTILINE
    )
    (others,) = re.findall(r"docker compose up -d --force-recreate --no-deps ([\w ]+?) +#", ONLY_READ)
    assert {*policy.split(), *others.split()} == mounting
    (file,) = services["policy"]["volumes"]
    assert set(policy.split()) == {name for name, each in staying.items() if file in each.get("volumes", [])}


def test_an_alertmanager_by_compose_is_reached_by_prometheus_and_reaches_the_outside() -> None:
    compose = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())
    (added,) = (yaml.safe_load(content)["services"] for _, content in BLOCKS if content.startswith("services:"))
    (told,) = (yaml.safe_load(content)["alerting"] for _, content in BLOCKS if content.startswith("alerting:"))
    ((name, service),) = added.items()
    assert told == {"alertmanagers": [{"static_configs": [{"targets": [f"{name}:9093"]}]}]}
    assert set(service["networks"]) & set(compose["services"]["prometheus"]["networks"])
    assert [each for each in service["networks"] if not (compose["networks"][each] or {}).get("internal")]


def test_commands_that_write_keys_run_by_compose_where_keys_can_be_written() -> None:
    services = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())["services"]
    asked = re.findall(
        r"^docker compose (?:run --rm --no-deps|exec) (\w+) reprofarm keys (\w+)", ONLY_READ, re.MULTILINE
    )
    assert {"new", "rotate", "show"} == {command for _, command in asked}
    for name, command in asked:
        assert ("keys:/keys" in services[name]["volumes"]) is (command != "show"), command


def test_the_drill_uses_the_pages_commands() -> None:
    drill = (PROJECT / "tests" / "integration" / "scheduler" / "test_restore_drill.py").read_text()
    for words in (("pg_dump", "--format=custom"), ("pg_restore", "--exit-on-error"), ("database", "backup")):
        assert " ".join(words) in PAGE
        assert '", "'.join(words) in drill
