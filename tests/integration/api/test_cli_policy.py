from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from specs.policy.rules import read_policy
from tests.support.api import RunningApi, running_api

RULES = {"version": 1, "benchmarks": {"acme/capitals": {"tolerance": 0.03}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(RULES))
    return path


@pytest.fixture
def api(tmp_path: Path, file: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path, policy=file) as found:
        yield found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["policy", *arguments], env={"COLUMNS": "160"})


def test_the_shown_policy_is_a_file_that_a_farm_reads_as_the_same_one(
    api: RunningApi, file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(run("show", "--api", api.url).output)
    assert read_policy(copy) == read_policy(file)
    assert json.loads(run("show", "--json", "--api", api.url).output)["sha256"] == read_policy(file).sha256


def test_a_file_is_checked_before_a_farm_reads_it(file: Path) -> None:
    assert run("check", str(file)).output == f"{file} is a policy, SHA-256 {read_policy(file).sha256}\n"
    file.write_text("version: 1\ntolerence: 0.1\n")
    wrong = run("check", str(file))
    assert wrong.exit_code == 3
    assert "tolerence" in wrong.stderr
    found = json.loads(run("check", str(file), "--json").stdout)
    assert (found["valid"], found["sha256"]) == (False, None)


def test_a_claims_rules_are_explained_with_their_places(api: RunningApi) -> None:
    claim_id = api.rows.planned()
    output = run("explain", claim_id, "--api", api.url).output
    assert "41.2 read as a percent by the leaderboard: 41.20 %" in output
    (line,) = (line for line in output.splitlines() if line.lstrip().startswith("tolerance") and "benchmark" in line)
    assert "0.03" in line
    found = json.loads(run("explain", claim_id, "--json", "--api", api.url).output)
    assert {"name": "tolerance", "value": 0.03, "source": "benchmark acme/capitals"} in found["rules"]


def test_a_claim_without_a_benchmark_has_no_rules(api: RunningApi) -> None:
    result = run("explain", api.rows.claim(dataset_id=None, task_id=None, value=None), "--api", api.url)
    assert result.exit_code == 3
    assert "names no benchmark" in result.stderr
