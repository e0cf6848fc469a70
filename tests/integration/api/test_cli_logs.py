from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.logs import Tail
from deploy.cli.main import app
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.events import EventView
from tests.support.api import RunningApi, running_api
from tests.support.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """On SQLite alone: the routes have tests on both databases."""
    with running_api(tmp_path) as found:
        yield found


def run(api: RunningApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["logs", *arguments, "--api", api.url], env={"COLUMNS": "200"})


def test_what_happened_to_a_claim_and_its_run_is_printed_in_order(api: RunningApi) -> None:
    claim_id = api.rows.running()
    api.rows.event("claim", claim_id, "submitted", "found on the Hub", actor="hub:alice")
    api.rows.event("reproduction", api.rows.run_of(claim_id), "running", "attempt 2 by \x07w1")
    first, second = run(api, claim_id[:8]).output.splitlines()
    assert first.endswith("claim submitted  by hub:alice: found on the Hub")
    assert second.endswith("reproduction running  by scheduler: attempt 2 by w1")


def test_a_reproduction_has_a_log_of_its_own(api: RunningApi) -> None:
    run_id = api.rows.reproduction()
    api.rows.event("reproduction", run_id, "dispatched")
    api.rows.event("reproduction", api.rows.reproduction(), "dispatched", "of another one")
    (line,) = run(api, run_id, "--json").output.splitlines()
    assert json.loads(line)["subject_id"] == run_id


def test_following_goes_on_with_progress_and_engine_lines_until_the_claim_is_decided(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Tail] = []
    print_run = Tail._print_run

    def noted(tail: Tail) -> None:
        print_run(tail)
        looks.append(tail)

    monkeypatch.setattr(Tail, "_print_run", noted)
    claim_id = api.rows.running()
    run_id = api.rows.run_of(claim_id)
    _say(api, run_id, "loading weights", stage="starting_engine", samples_total=None)
    results: list[Result] = []
    following = threading.Thread(target=lambda: results.append(run(api, claim_id, "-f")))
    following.start()
    until(lambda: looks)
    _say(api, run_id, "loading weights\ncapturing graphs", stage="running", samples_done=150, samples_total=300)
    before = len(looks)
    # The one that may be under way began before.
    until(lambda: len(looks) >= before + 2)
    api.rows.event("claim", claim_id, "decided", "verified: for a reason")
    with api.rows.database.transaction() as session:
        session.get_one(Claim, claim_id).state = ClaimState.DECIDED
        session.get_one(Reproduction, run_id).state = ReproductionState.COMPLETED
    following.join(60)
    output = results[0].output
    assert output.count("engine: loading weights") == 1
    assert output.count("engine: capturing graphs") == 1
    assert "  attempt 2, starting engine\n" in output
    assert "150 of 300 samples, score so far 40.50 %" in output
    assert output.splitlines()[-1].endswith("verified: for a reason")


def test_a_claim_that_joins_a_run_shows_what_happened_to_that_before(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.cli.logs.LOOK_SECONDS", 0.05)
    looks: list[Tail] = []
    look = Tail._new_events

    def noted(tail: Tail) -> list[EventView]:
        found = look(tail)
        looks.append(tail)
        return found

    monkeypatch.setattr(Tail, "_new_events", noted)
    run_id = api.rows.run_of(api.rows.running())
    api.rows.event("reproduction", run_id, "dispatched")
    claim_id = api.rows.claim("other/model")
    api.rows.event("claim", claim_id, "submitted")
    results: list[Result] = []
    following = threading.Thread(target=lambda: results.append(run(api, claim_id, "-f", "--json")), daemon=True)
    following.start()
    until(lambda: looks)
    api.rows.event("claim", claim_id, "planned")
    with api.rows.database.transaction() as session:
        claim = session.get_one(Claim, claim_id)
        claim.state, claim.reproduction_id = ClaimState.PLANNED, run_id
    before = len(looks)
    until(lambda: len(looks) >= before + 2)
    api.rows.event("claim", claim_id, "decided")
    with api.rows.database.transaction() as session:
        session.get_one(Claim, claim_id).state = ClaimState.DECIDED
    following.join(60)
    told = [json.loads(line)["what"] for line in results[0].output.splitlines()]
    assert sorted(told) == ["decided", "dispatched", "planned", "submitted"], "each once"
    assert (told[0], told[-1]) == ("submitted", "decided")


def _say(api: RunningApi, run_id: str, detail: str, **more: str | int | None) -> None:
    with api.rows.database.transaction() as session:
        attempt = session.get_one(Attempt, (run_id, 2))
        attempt.detail = detail
        for name, value in more.items():
            setattr(attempt, name, value)


def test_what_is_neither_a_claim_nor_a_reproduction_is_an_error(api: RunningApi) -> None:
    result = run(api, "abcdef0123")
    assert result.exit_code == 3
    assert "there is no claim and no reproduction abcdef0123" in result.stderr
