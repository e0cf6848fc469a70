"""The compose file of one box tells each program what it reads, and workers nothing more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.settings import Settings
from specs.policy.rules import read_policy
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
TRACES = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
"""Read by OpenTelemetry's own library."""

VARIABLE = re.compile(r"\$\{([A-Z_]+)")


def test_every_setting_is_one_that_its_program_knows() -> None:
    control = {f"REPROFARM_{name.upper()}" for name in Settings.model_fields}
    worker = {f"REPROFARM_WORKER_{name.upper()}" for name in WorkerSettings.model_fields}
    for name in ("api", "control", "beat", "migrate", "policy", "keys"):
        assert set(SERVICES[name]["environment"]) - TRACES <= control
    assert set(SERVICES["worker"]["environment"]) - TRACES <= worker


def test_an_older_version_starts_on_tables_of_a_newer_one() -> None:
    assert SERVICES["migrate"]["command"] == ["reprofarm", "database", "upgrade", "--newer-is-fine"]


def test_the_policy_is_checked_before_the_tables_are_changed_and_anything_starts() -> None:
    check = SERVICES["policy"]
    assert check["command"] == ["reprofarm", "policy", "check", check["environment"]["REPROFARM_POLICY"]]
    done = {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["policy"] == done
    for name in ("api", "control", "beat"):
        assert SERVICES[name]["depends_on"]["migrate"] == done
        assert set(check["volumes"]) <= set(SERVICES[name]["volumes"])


def test_the_policy_has_the_pool_that_the_worker_is_of() -> None:
    pools = {pool.name for pool in read_policy(FOLDER / "policy.yaml").pools}
    assert SERVICES["worker"]["environment"]["REPROFARM_WORKER_POOL"] in pools


def test_a_worker_reaches_no_database_and_sees_no_key() -> None:
    assert "control" not in SERVICES["worker"]["networks"]
    assert SERVICES["postgresql"]["networks"] == ["control"]
    assert not [volume for volume in SERVICES["worker"]["volumes"] if volume.startswith("keys")]
    writers = [name for name, service in SERVICES.items() if "HUB_TOKEN" in str(service.get("environment"))]
    assert sorted(writers) == ["control", "worker"]
    assert SERVICES["worker"]["environment"]["REPROFARM_WORKER_HUB_TOKEN"].startswith("${HUB_READ_TOKEN")


def test_every_variable_is_explained_in_the_example_and_none_has_a_value_there() -> None:
    used = set(VARIABLE.findall((FOLDER / "compose.yaml").read_text()))
    example = (FOLDER / "example.env").read_text()
    listed = dict(line.split("=", 1) for line in example.splitlines() if "=" in line and not line.startswith("#"))
    optional = {"CONTROL_IMAGE", "WORKER_IMAGE", "HUB_ENDPOINT"}
    assert used - optional == set(listed)
    assert not any(listed.values())


def test_everything_that_is_reached_from_outside_the_box_is_on_its_loopback() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_that_are_built_come_from_a_stage_that_exists(name: str) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "deploy" / "images" / "Dockerfile").read_text(), re.MULTILINE)
    build = SERVICES[name].get("build")
    assert build is None or build["target"] in stages


@pytest.mark.parametrize("name", ["keys", "api", "control", "worker"])
def test_a_volume_that_is_made_new_can_be_written_by_the_images_user(name: str) -> None:
    dockerfile = (ROOT / "deploy" / "images" / "Dockerfile").read_text()
    stage = "worker" if name == "worker" else "control"
    text = dockerfile.split(f"FROM base AS {stage}\n")[1].split("\nFROM ")[0]
    owned = {
        folder
        for folders in re.findall(r"install -d -o reprofarm -g reprofarm (?:-m \d+ )?(/[^&\n]*)", text)
        for folder in folders.split()
    }
    named = {volume.split(":")[1] for volume in SERVICES[name]["volumes"] if not volume.startswith(".")}
    assert named <= owned


def test_a_worker_may_load_what_it_compiles() -> None:
    # Docker mounts a tmpfs noexec unless it is told otherwise.
    assert SERVICES["worker"]["tmpfs"] == ["/tmp:exec"]  # noqa: S108 - in the container


def test_files_that_are_mounted_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (FOLDER / source).exists(), source


def test_the_images_take_every_package_of_the_farm() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "deploy" / "images" / "Dockerfile").read_text(), re.MULTILINE))
    packages = re.search(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages is not None
    assert copied == set(re.findall(r'"(\w+)"', packages[1]))


def test_what_an_operator_fills_in_gets_into_no_image_and_no_commit() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    # The last rule that fits decides.
    assert rules.index("deploy/compose") > rules.index("!deploy")
    assert ".env*" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_worker_is_stopped_before_what_reads_what_it_hands_back() -> None:
    assert "control" in SERVICES["worker"]["depends_on"]


def test_the_databases_parallel_queries_have_more_memory_to_share_than_docker_gives() -> None:
    assert SERVICES["postgresql"]["shm_size"] == "512mb"
