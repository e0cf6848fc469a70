"""Who follows a farm goes on when its API was away for a moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import delete
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from deploy.client import patience
from scheduler.access import tokens
from scheduler.database.tables import Claim, Event, Model, Reproduction, now
from scheduler.record import give_verdict
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.access import NewToken
from specs.judging.verdict import Outcome, Verdict
from tests.support.api import RunningApi, running_api
from tests.support.front import Front, front_of
from tests.support.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path) as found:
        yield found


@pytest.fixture
def front(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.05)
    with front_of(api.url) as found:

        def pause(seconds: float) -> None:
            found.missed += 1
            time.sleep(seconds)

        monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
        yield found


class Following:
    """A command that goes on in a thread."""

    def __init__(self, front: Front, *arguments: str) -> None:
        self._front = front
        self._results: list[Result] = []
        self._thread = threading.Thread(target=self._run, args=(arguments,), daemon=True)
        self._thread.start()

    def _run(self, arguments: tuple[str, ...]) -> None:
        command = [*arguments, "--api", self._front.url]
        self._results.append(CliRunner().invoke(app, command, env={"COLUMNS": "500"}))

    def goes_on(self) -> None:
        """Wait until it has looked once more."""
        before = self._front.passed
        until(lambda: self._front.passed > before + 4)

    def result(self) -> Result:
        self._thread.join(60)
        return self._results[0]


def restarts(front: Front, following: Following) -> None:
    """First as seen through a proxy, then without one."""
    following.goes_on()
    front.faults = ["bad_gateway", "unavailable", "cut"]
    until(lambda: not front.faults)
    following.goes_on()
    missed = front.missed
    front.go()
    until(lambda: front.missed > missed)
    front.come()
    following.goes_on()


def test_a_log_is_followed_over_a_restart_with_each_event_once(api: RunningApi, front: Front) -> None:
    claim_id = api.rows.running()
    run_id = api.rows.run_of(claim_id)
    api.rows.event("claim", claim_id, "submitted")
    following = Following(front, "logs", claim_id, "-f", "--json")
    following.goes_on()
    api.rows.event("reproduction", run_id, "running")
    restarts(front, following)
    front.go()
    api.rows.event("reproduction", run_id, "completed")
    api.rows.event("claim", claim_id, "decided")
    with api.rows.database.transaction() as session:
        session.get_one(Claim, claim_id).state = ClaimState.DECIDED
        session.get_one(Reproduction, run_id).state = ReproductionState.COMPLETED
    front.come()
    result = following.result()
    assert result.exit_code == 0, result.output
    told = [json.loads(line)["what"] for line in result.stdout.splitlines()]
    assert told == ["submitted", "running", "completed", "decided"]
    said = result.stderr.splitlines()
    assert 2 <= len(said) <= 3, "once for each time that it was away, of which the last may be too short"
    assert all("asking again for up to 300 s" in line for line in said)


def test_a_log_goes_on_where_the_farm_comes_back_restored_from_a_backup(api: RunningApi, front: Front) -> None:
    claim_id = api.rows.running()
    api.rows.event("claim", claim_id, "submitted", "in the backup")
    for number in range(3):
        api.rows.event("claim", claim_id, "planned", f"lost, {number}")
    following = Following(front, "logs", claim_id, "-f", "--json")
    following.goes_on()
    front.go()
    with api.rows.database.transaction() as session:
        session.execute(delete(Event).where(Event.why.startswith("lost")))
    # With the id of the first that was lost.
    api.rows.event("claim", claim_id, "planned", "since the restore", event_id=2)
    front.come()
    following.goes_on()
    api.rows.event("claim", claim_id, "decided", "after", event_id=3)
    with api.rows.database.transaction() as session:
        session.get_one(Claim, claim_id).state = ClaimState.DECIDED
    result = following.result()
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(event["id"], event["why"]) for event in told] == [
        (1, "in the backup"),
        *((number + 2, f"lost, {number}") for number in range(3)),
        (2, "since the restore"),
        (3, "after"),
    ]
    assert result.stderr.count("restored from a backup") == 1


def test_a_verdict_is_waited_for_over_a_restart(api: RunningApi, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = NewToken.model_validate({"name": "ops", "scopes": ("operate",)})
    monkeypatch.setenv("REPROFARM_TOKEN", tokens.make(api.rows.database, wanted, "operator:test").secret)
    claim_id = api.rows.running("tiny/model")
    api.rows.add(Model(model_id="tiny/model", heads={}, looked_at=now()))
    following = Following(front, "verify", "tiny/model", "acme/capitals", "--wait")
    restarts(front, following)
    with api.rows.database.transaction() as session:
        claim = session.get_one(Claim, claim_id)
        assert claim.reproduction is not None
        claim.reproduction.state = ReproductionState.COMPLETED
        give_verdict(session, claim, Verdict(outcome=Outcome.MISMATCH, reason="for a reason", comparison=None))
    result = following.result()
    assert result.exit_code == 1, result.output
    assert result.stderr.count("asking again") == 2


def test_a_farm_that_stays_away_is_an_error_after_a_while(
    api: RunningApi, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)
    following = Following(front, "logs", api.rows.running(), "-f")
    following.goes_on()
    front.go()
    result = following.result()
    assert result.exit_code == 3
    assert "no farm answers at" in result.stderr.splitlines()[-1]


def test_a_farm_that_never_answered_is_not_waited_for(front: Front) -> None:
    front.go()
    result = Following(front, "logs", "abcdef0123", "-f").result()
    assert result.exit_code == 3
    assert "asking again" not in result.stderr
