from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from tests.support.api import RunningApi

# The routes have tests on both kinds of databases.
pytestmark = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)


def run(api: RunningApi, *arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(app, ["noise", *arguments, "--api", api.url], env={"COLUMNS": str(columns)})


def test_the_noise_of_a_benchmark_is_shown_with_the_tolerance_that_follows(api: RunningApi) -> None:
    for _ in range(4):
        api.rows.noise_pair(mean_square=0.1)
    api.rows.noise_pair(dataset_id="other/benchmark")
    result = run(api, "acme/capitals")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "acme/capitals/europe  300 samples, 1 epoch, settings 55555555"
    figures = "4 1200 1.96 points 3.84 points"
    assert " ".join(lines[2].split()) == f"any any any {figures}"
    assert " ".join(lines[5].split()) == f"below 1B 0.32.0 1 × H100 {figures}"
    assert "other/benchmark" not in result.output


def test_pairs_under_different_settings_are_told_apart(api: RunningApi) -> None:
    api.rows.noise_pair(settings_sha256="5" * 64)
    api.rows.noise_pair(settings_sha256="6" * 64, epochs=4)
    titles = [line for line in run(api).output.splitlines() if "settings" in line]
    assert titles == [
        "acme/capitals/europe  300 samples, 4 epochs, settings 66666666",
        "acme/capitals/europe  300 samples, 1 epoch, settings 55555555",
    ]


@pytest.mark.parametrize("columns", [80, 100])
def test_a_table_fits_the_terminal_and_loses_no_number(api: RunningApi, columns: int) -> None:
    for _ in range(4):
        api.rows.noise_pair(hardware="8 × NVIDIA H100 80GB HBM3", earlier_hardware="4 × NVIDIA A100-SXM4-80GB")
    output = run(api, columns=columns).output
    assert max(map(len, output.splitlines())) <= columns
    assert output.count("3.84 points") == 4


def test_too_few_runs_are_said(api: RunningApi) -> None:
    api.rows.noise_pair()
    assert "too few" in run(api).output
    assert "no two runs" in run(api, "acme/none").output


def test_json_is_what_the_farm_says(api: RunningApi) -> None:
    api.rows.noise_pair()
    assert json.loads(run(api, "--json").output) == api.json("/v1/noise")


def test_more_tasks_than_a_page_holds_are_listed(api: RunningApi) -> None:
    for number in range(51):
        api.rows.noise_pair(task_id=f"task-{number}")
    assert len(json.loads(run(api, "--json").output)["items"]) == 51


def test_what_a_worker_calls_its_hardware_cannot_act_on_the_terminal(api: RunningApi) -> None:
    api.rows.noise_pair(hardware="\x1b[31mH100\x07", task_id="\x9b2J")
    output = run(api).output
    assert "H100" in output
    assert not [c for c in output if c in "\x1b\x07\x9b"]
