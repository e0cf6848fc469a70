"""What is done by hand, on the control plane's machine and over the API of a farm elsewhere: the same commands."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from sqlalchemy import select
from typer.testing import CliRunner, Result

from deploy.cli.follow import follow
from deploy.cli.main import app
from deploy.cli.verify import split_benchmark
from deploy.client import FarmClient
from scheduler.access import tokens
from scheduler.database.tables import Claim, Event, Model, OutboxRow, now
from scheduler.record import give_verdict
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.access import NewToken
from specs.api_v1.claims import ClaimView
from specs.errors import SubmissionError
from specs.judging.verdict import Outcome, Verdict
from tests.support.api import RunningApi, running_api
from tests.support.rows import commit_id, comparison
from tests.support.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """On SQLite alone: the routes have tests on both databases."""
    with running_api(tmp_path) as found:
        yield found


class Hand:
    """Runs commands in one of the two ways."""

    def __init__(self, api: RunningApi, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        self.api = api
        self._at = ["--api", api.url] if way == "over the API" else []
        monkeypatch.setenv("REPROFARM_DATABASE_URL", api.settings.database_url)
        monkeypatch.delenv("REPROFARM_API", raising=False)
        wanted = NewToken.model_validate({"name": "ops", "scopes": ("operate",)})
        monkeypatch.setenv("REPROFARM_TOKEN", tokens.make(api.rows.database, wanted, "operator:test").secret)
        self.actor = "token:ops" if self._at else "operator:"

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, *self._at], env={"COLUMNS": "200"})

    def actors(self, what: str) -> list[str]:
        with self.api.rows.database.reading() as session:
            return list(session.scalars(select(Event.actor).where(Event.what == what)))

    def state(self, claim_id: str) -> str:
        with self.api.rows.database.reading() as session:
            return session.get_one(Claim, claim_id).state


@pytest.fixture(params=["over the API", "on the database"])
def hand(api: RunningApi, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Hand:
    return Hand(api, monkeypatch, request.param)


def test_a_claim_is_cancelled_and_tried_again_under_the_callers_name(hand: Hand) -> None:
    claim_id = hand.api.rows.planned()
    done = hand.run("cancel", claim_id[:10], "--why", "takes the whole pool")
    assert done.exit_code == 0, done.output
    assert hand.state(claim_id) == ClaimState.BLOCKED
    again = json.loads(hand.run("retry", claim_id, "--json").output)
    assert again["lines"] == [f"claim {claim_id} is planned again"]
    assert hand.state(claim_id) == ClaimState.SUBMITTED
    assert all(actor.startswith(hand.actor) for actor in hand.actors("blocked"))


def test_a_reproduction_is_meant_by_its_id_too(hand: Hand) -> None:
    claim_id = hand.api.rows.planned()
    run_id = hand.api.rows.run_of(claim_id)
    assert hand.run("cancel", run_id, "--why", "the wrong pool").exit_code == 0
    assert hand.state(claim_id) == ClaimState.BLOCKED
    nothing = hand.run("cancel", "abcdef012345", "--why", "x")
    assert nothing.exit_code == 3
    assert "abcdef012345" in nothing.stderr


def test_a_decided_claim_is_verified_again_as_a_new_one(hand: Hand) -> None:
    claim_id = hand.api.rows.decided(Outcome.MISMATCH, found=comparison(0.2))
    done = hand.run("reverify", claim_id, "--why", "the chat template was mended")
    assert done.exit_code == 0, done.output
    assert hand.state(claim_id) == ClaimState.WITHDRAWN


def test_what_is_claimed_on_a_benchmark_is_verified_by_its_name(hand: Hand) -> None:
    hand.api.rows.benchmark()
    claim_id = hand.api.rows.decided(Outcome.VERIFIED, "tiny/model", comparison())
    _look_at(hand, "tiny/model")
    asked = json.loads(hand.run("verify", "tiny/model", "acme/capitals/europe", "--json").output)
    (anew,) = asked["claim_ids"]
    assert anew != claim_id
    assert hand.state(anew) == ClaimState.SUBMITTED


def test_a_model_that_the_farm_does_not_know_is_looked_at_first(hand: Hand) -> None:
    done = hand.run("verify", "new/model", "acme/capitals")
    assert done.exit_code == 0, done.output
    assert "looks at it on the Hub first" in done.output
    assert "`reprofarm claims --model " in done.output
    with hand.api.rows.database.reading() as session:
        assert session.scalars(select(OutboxRow.task)).all() == ["scheduler.look"]


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.VERIFIED, 0), (Outcome.MISMATCH, 1), (Outcome.INCONCLUSIVE, 2), (Outcome.FAILED, 2)]
)
def test_waiting_ends_with_the_verdict_as_the_exit_code(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    hand = Hand(api, monkeypatch, "over the API")
    looks: list[str] = []
    look = FarmClient.claim

    def noted(farm: FarmClient, target: str) -> ClaimView:
        looks.append(target)
        return look(farm, target)

    monkeypatch.setattr(FarmClient, "claim", noted)
    claim_id = api.rows.running("tiny/model")
    _look_at(hand, "tiny/model")
    results: list[Result] = []
    waiting = threading.Thread(
        target=lambda: results.append(hand.run("verify", "tiny/model", "acme/capitals", "--wait"))
    )
    waiting.start()
    until(lambda: len(looks) > 1)
    with api.rows.database.transaction() as session:
        claim = session.get_one(Claim, claim_id)
        assert claim.reproduction is not None
        claim.reproduction.state = ReproductionState.COMPLETED
        give_verdict(session, claim, Verdict(outcome=outcome, reason="for a reason", comparison=None))
    waiting.join(60)
    assert results[0].exit_code == code, results[0].output
    assert f"{outcome}: for a reason" in results[0].output


def test_only_the_commit_that_was_asked_for_is_waited_for_where_the_model_is_new(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand(api, monkeypatch, "over the API")
    commit = commit_id()
    waiting = Waiting(hand, "verify", "new/model", "acme/capitals", "--revision", commit[:9], "--wait")
    api.rows.decided(Outcome.MISMATCH, "new/model")
    waiting.looks_on()
    api.rows.decided(Outcome.VERIFIED, "new/model", comparison(), ref="refs/pr/1", commit=commit)
    result = waiting.result()
    assert result.exit_code == 0, result.output
    assert "mismatch" not in result.output


def test_a_model_without_such_a_claim_is_not_waited_for_once_it_was_looked_at(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.rows.event("model", "new/model", "looked_at", "of an earlier request")
    hand = Hand(api, monkeypatch, "over the API")
    waiting = Waiting(hand, "verify", "new/model", "acme/capitals", "--wait")
    waiting.looks_on()
    api.rows.event("model", "new/model", "looked_at", "asked by token:ops: it has no claim on acme/capitals")
    result = waiting.result()
    assert result.exit_code == 2, result.output
    assert result.output.splitlines()[-1].endswith("it has no claim on acme/capitals")


def test_what_is_waited_for_is_of_the_farm_in_the_folder_that_was_named(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hand = Hand(api, monkeypatch, "on the database")
    api.rows.benchmark()
    claim_id = api.rows.claim("tiny/model", state=ClaimState.REJECTED, reason="no number")
    _look_at(hand, "tiny/model")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "farm.json").write_text(json.dumps({"api": api.url}))
    waited = hand.run("verify", "tiny/model", "acme/capitals", "--wait", "--json", "--var", str(folder))
    assert waited.exit_code == 2, waited.output
    assert [claim["id"] for claim in json.loads(waited.stdout)] == [claim_id]


class Waiting:
    """A command that goes on in a thread until what it waits for is there."""

    def __init__(self, hand: Hand, *arguments: str) -> None:
        self._hand = hand
        self._results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self._results.append(hand.run(*arguments)), daemon=True)
        self._thread.start()

    def looks_on(self) -> None:
        """Wait until it has asked the farm and found nothing yet."""
        until(lambda: self._hand.actors("requested"))
        threading.Event().wait(1.5)
        assert not self._results, self._results[0].output

    def result(self) -> Result:
        self._thread.join(60)
        return self._results[0]


class FarmAtWork:
    """What a claim looks like over the API at one look after the other, in place of a client."""

    def __init__(self, looks: Sequence[ClaimView]) -> None:
        self._looks = list(looks)

    def claim(self, _: str) -> ClaimView:
        return self._looks.pop(0)


def test_a_log_has_a_line_for_each_tenth_of_the_samples(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_id = api.rows.running("tiny/model")
    ended_id = api.rows.decided(Outcome.MISMATCH, "other/model")
    running, ended = (ClaimView.model_validate(api.json(f"/v1/claims/{each}")) for each in (claim_id, ended_id))
    run = running.reproduction
    assert run is not None

    def at(stage: str, done: int, total: int | None) -> ClaimView:
        changed = {"stage": stage, "samples_done": done, "samples_total": total, "score": None}
        return running.model_copy(update={"reproduction": run.model_copy(update=changed)})

    looks = [at("starting_engine", 0, None), at("running", 3, 150), at("running", 7, 150), at("running", 80, 150)]
    monkeypatch.setattr("deploy.cli.follow.LOOK_SECONDS", 0)
    out = Console(file=io.StringIO(), width=200)
    follow(cast("FarmClient", FarmAtWork([*looks, ended])), [claim_id], out)
    lines = [line.partition(" ")[2] for line in cast("io.StringIO", out.file).getvalue().splitlines()]
    assert lines[:3] == ["starting engine", "running: 3/150", "running: 80/150"]
    assert len(lines) == 4


def test_without_a_token_a_farm_elsewhere_says_what_is_missing(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand(api, monkeypatch, "over the API")
    claim_id = api.rows.planned()
    monkeypatch.delenv("REPROFARM_TOKEN")
    refused = hand.run("cancel", claim_id, "--why", "x")
    assert refused.exit_code == 3
    assert "token" in refused.stderr
    assert hand.state(claim_id) == ClaimState.PLANNED


@pytest.mark.parametrize("benchmark", ["gsm8k", "a/", "/b", "a//c", ""])
def test_a_benchmark_is_named_with_its_owner(benchmark: str) -> None:
    with pytest.raises(SubmissionError, match="OWNER/NAME"):
        split_benchmark(benchmark)


def test_a_task_may_follow_its_benchmark() -> None:
    assert split_benchmark("openai/gsm8k") == ("openai/gsm8k", None)
    assert split_benchmark("acme/capitals/europe") == ("acme/capitals", "europe")


def _look_at(hand: Hand, model_id: str) -> None:
    with hand.api.rows.database.transaction() as session:
        session.get_one(Model, model_id).looked_at = now()
