"""What an operator cancels, and has tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from deploy.cli.control_plane import operator
from deploy.cli.main import app
from scheduler.collect.ending import end_attempt
from scheduler.collect.heartbeats import Stale, alive
from scheduler.database.tables import Claim, Event, OutboxRow, Reproduction, VerdictRow
from scheduler.dispatch.dispatcher import dispatch
from scheduler.reaping.reaper import reap
from scheduler.requests.intervening import DROP, cancel, retry
from scheduler.state_machine import ClaimState, ReproductionState
from specs.errors import InterventionError
from specs.messages import AttemptOutcome, AttemptsAlive
from specs.policy.engine import ModelRules
from tests.support.databases import Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.queues import EMPTY_QUEUES
from tests.support.scheduler import ControlPlane, control_plane, control_plane_like
from tests.support.sent_batches import heartbeat, sent_batches

OPERATOR = "operator:ada"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """The folder of a farm that has planned; each test has a copy."""
    folder = tmp_path_factory.mktemp("planned")
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench")
        model = add_model(hub, "tiny/model")
        submit(hub, model, entry("acme/bench", 50))
        submit(hub, model, entry("acme/bench", 90), author="fan", create_pr=True, name="fan.yaml")
        plane.scan()
        plane.plan()
    return folder


@pytest.fixture
def farm(planned: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """A model with two claims on one task, which share a reproduction."""
    with control_plane_like(planned, tmp_path, databases) as plane:
        yield plane


def the_run(farm: ControlPlane) -> Reproduction:
    """The latest reproduction."""
    return farm.reproductions()[-1]


def take(farm: ControlPlane) -> AttemptsAlive:
    """Send out what is queued and have a worker run it; its heartbeat."""
    dispatch(farm.database, farm.policy)
    beat = heartbeat(sent_batches(farm.database)[-1], "w1")
    alive(farm.database, farm.policy, beat)
    return beat


def fail(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        run = session.scalars(select(Reproduction)).one()
        end_attempt(session, farm.policy, run, AttemptOutcome.MODEL_FAILED, "no such architecture")


def test_a_running_reproduction_is_cancelled_and_its_worker_told_by_the_same_transaction(farm: ControlPlane) -> None:
    beat = take(farm)
    run = the_run(farm)
    cancel(farm.database, run.reproduction_id, "wrong pool", OPERATOR)
    assert the_run(farm).state == ReproductionState.CANCELLED
    with farm.database.reading() as session:
        told = session.scalars(select(OutboxRow).where(OutboxRow.task == DROP)).one()
        events = session.scalars(select(Event).where(Event.actor == OPERATOR)).all()
    assert told.body == {
        "reproduction_id": run.reproduction_id,
        "attempt": 1,
        "batch_id": run.batch_id,
        "worker": "w1",
    }
    assert run.batch_id
    assert sorted((event.subject, event.what) for event in events) == [
        *[("claim", "blocked")] * 2,
        ("reproduction", "cancelled"),
    ]
    assert alive(farm.database, farm.policy, beat) == [Stale(beat.progress[0].ref, "w1")], "and told again"


def test_a_cancelled_claim_waits_for_the_operator_and_is_not_planned_by_itself(farm: ControlPlane) -> None:
    cancel(farm.database, the_run(farm).reproduction_id, "wrong pool", OPERATOR)
    farm.plan()
    for claim in farm.claims():
        assert (claim.state, claim.recheck_at) == (ClaimState.BLOCKED, None)
        assert claim.reason == (
            "cancelled by the farm's operator: wrong pool; the farm's operator can have it planned again"
            f" (`reprofarm retry {claim.claim_id}`)"
        )


def test_what_a_maintainer_cancelled_is_not_said_to_be_the_operators(farm: ControlPlane) -> None:
    cancel(farm.database, the_run(farm).reproduction_id, "not yet", "hub:tim", operates=False)
    for claim in farm.claims():
        assert claim.reason == f"cancelled by hub:tim: not yet; `reprofarm retry {claim.claim_id}` has it planned again"


def test_one_of_two_claims_is_cancelled_and_the_run_goes_on_for_the_other(farm: ControlPlane) -> None:
    one, other = farm.claims()
    cancel(farm.database, one.claim_id, "a typing error", OPERATOR)
    assert the_run(farm).state == ReproductionState.QUEUED
    cancel(farm.database, other.claim_id, "that too", OPERATOR)
    assert the_run(farm).state == ReproductionState.CANCELLED
    assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 0


def test_what_was_cancelled_is_run_again_when_it_is_retried(farm: ControlPlane) -> None:
    first = the_run(farm)
    cancel(farm.database, first.reproduction_id, "wrong pool", OPERATOR)
    retry(farm.database, first.reproduction_id, "the pool is back", OPERATOR)
    farm.plan()
    assert the_run(farm).reproduction_id != first.reproduction_id
    assert {(claim.state, claim.reproduction_id) for claim in farm.claims()} == {
        (ClaimState.PLANNED, the_run(farm).reproduction_id)
    }


def test_a_verdict_without_a_run_names_none_that_was_cancelled_before(farm: ControlPlane) -> None:
    first = the_run(farm)
    cancel(farm.database, first.reproduction_id, "wrong pool", OPERATOR)
    retry(farm.database, first.reproduction_id, "the pool is back", OPERATOR)
    farm.policy = farm.policy.model_copy(update={"models": {"tiny/model": ModelRules(deny="not here")}})
    farm.plan()
    with farm.database.reading() as session:
        verdicts = session.scalars(select(VerdictRow)).all()
    assert [(row.outcome, row.reproduction_id) for row in verdicts] == [("unsupported", None)] * 2
    assert [claim.reproduction_id for claim in farm.claims()] == [None] * 2


def test_a_failed_claim_keeps_its_verdict_and_its_entry_becomes_a_new_claim(farm: ControlPlane) -> None:
    take(farm)
    fail(farm)
    old = farm.claims()
    retry(farm.database, the_run(farm).reproduction_id, "weights were repaired", OPERATOR)
    farm.plan()
    with farm.database.reading() as session:
        verdicts = session.scalars(select(VerdictRow.claim_id)).all()
        living = session.scalars(select(Claim).where(Claim.live)).all()
        gone = session.scalars(select(Claim).where(~Claim.live)).all()
    assert set(verdicts) == {claim.claim_id for claim in old} == {claim.claim_id for claim in gone}
    assert {claim.state for claim in living} == {ClaimState.PLANNED}
    assert {(claim.slot, claim.value) for claim in living} == {(claim.slot, claim.value) for claim in old}
    before = {claim.claim_id for claim in farm.claims()}
    farm.scan()
    assert {claim.claim_id for claim in farm.claims()} == before, "the Hub still says the same"


def test_what_has_another_verdict_or_ended_is_left_alone(farm: ControlPlane) -> None:
    claim = farm.claims()[0]
    with pytest.raises(InterventionError, match="only what failed or waits for somebody"):
        retry(farm.database, claim.claim_id, "again", OPERATOR)
    take(farm)
    fail(farm)
    with pytest.raises(InterventionError, match="is failed already"):
        cancel(farm.database, the_run(farm).reproduction_id, "too late", OPERATOR)
    with pytest.raises(InterventionError, match="nothing is to be run for it"):
        cancel(farm.database, claim.claim_id, "too late", OPERATOR)
    with pytest.raises(InterventionError, match="nothing has an id like"):
        cancel(farm.database, "000000-no-such", "?", OPERATOR)


def test_the_commands_find_the_farm_by_its_settings_and_leave_the_users_name(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPROFARM_DATABASE_URL", farm.database.url)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    claim = farm.claims()[0]
    told = CliRunner().invoke(app, ["cancel", claim.claim_id[:8], "--why", "a typing error"])
    assert told.exit_code == 0, told.output
    assert f"reprofarm retry {claim.claim_id}" in told.output
    assert farm.claims()[0].state == ClaimState.BLOCKED
    told = CliRunner().invoke(app, ["retry", claim.claim_id[:8]])
    assert told.exit_code == 0, told.output
    assert farm.history(claim.claim_id)[-2:] == ["blocked", "submitted"]
    with farm.database.reading() as session:
        assert operator() in session.scalars(select(Event.actor)).all()


def test_a_command_without_a_farm_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPROFARM_DATABASE_URL", raising=False)
    told = CliRunner().invoke(app, ["cancel", "123456", "--why", "?", "--var", str(tmp_path / "var")])
    assert told.exit_code == 3
    assert "say with --var or REPROFARM_VAR where the farm is" in told.output
    assert not (tmp_path / "var").exists()
