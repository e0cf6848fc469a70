from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from tests.support.api import RunningApi, running_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """On SQLite alone: the routes have tests on both databases."""
    with running_api(tmp_path) as found:
        yield found


def run(api: RunningApi, *arguments: str, columns: int = 200) -> Result:
    return CliRunner().invoke(app, ["reproductions", *arguments, "--api", api.url], env={"COLUMNS": str(columns)})


def test_reproductions_say_where_they_are_and_how_far(api: RunningApi) -> None:
    waiting, running = api.rows.planned("second/model"), api.rows.running("busy/model")
    output = run(api).output
    lines = {line.split()[0]: line for line in output.splitlines()[1:]}
    assert "number 1" in lines[api.rows.run_of(waiting)[:8]]
    assert "120/300, 40.50 %" in lines[api.rows.run_of(running)[:8]]
    assert "busy/model" in lines[api.rows.run_of(running)[:8]]


@pytest.mark.parametrize(("columns", "below"), [(80, True), (160, False)])
def test_a_long_reason_takes_no_room_from_what_it_is_about(api: RunningApi, columns: int, *, below: bool) -> None:
    run_id = api.rows.reproduction("tiny/model", reason="the engine ended while it was starting: " + 300 * "x")
    heading, line, *more = run(api, columns=columns).output.splitlines()
    assert heading.split()[:5] == ["id", "model", "benchmark", "pool", "state"]
    assert line.split()[:4] == [run_id[:8], "tiny/model", "acme/capitals/europe", "cpu"]
    assert ["the engine ended" in each for each in (line, *more)] == ([False, True] if below else [True])
    assert max(map(len, (line, *more))) == columns


def test_filters_reach_the_farm(api: RunningApi) -> None:
    api.rows.planned()
    running = api.rows.running()
    listed = json.loads(run(api, "--state", "running", "--json").output)
    assert [each["id"] for each in listed["items"]] == [api.rows.run_of(running)]
    assert run(api, "--pool", "elsewhere").output == "no such reproduction\n"


def test_a_limit_beyond_a_page_is_served_from_several(api: RunningApi) -> None:
    for _ in range(205):
        api.rows.reproduction()
    listed = json.loads(run(api, "--limit", "203", "--json").output)
    assert len({each["id"] for each in listed["items"]}) == 203
    rest = json.loads(run(api, "--cursor", listed["next"], "--json").output)
    assert (len(rest["items"]), rest["next"]) == (2, None)


def test_a_list_that_is_cut_says_so_and_how_to_go_on(api: RunningApi) -> None:
    for name in ("first/model", "second/model"):
        api.rows.planned(name)
    said = run(api, "--limit", "1").output.splitlines()[-1]
    assert said.startswith("there are more: --limit, or --cursor ")
    assert "first/model" in run(api, "--cursor", said.split()[-1]).output
    assert "there are more" not in run(api, "--limit", "2").output
