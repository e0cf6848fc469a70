"""What a newer version of the farm left, and this one cannot read: it waits by itself, and holds up nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scheduler.badges.issuing import sign_missing
from scheduler.badges.publications import want_mismatches
from scheduler.database.tables import Claim, Event, OutboxRow, Publication, Reproduction, VerdictRow, Webhook, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.dispatch.setting_aside import SET_ASIDE
from scheduler.farm import Farm
from scheduler.messaging.outbox import relay
from scheduler.metrics import collector
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ReproductionState
from scheduler.webhooks import delivery, registry
from specs.api_v1.webhooks import NewWebhook, WantedFilter
from specs.messages import REPORT, Report
from specs.policy.rules import Policy
from tests.support.databases import SQLITE, Databases
from tests.support.deciding import complete
from tests.support.publishing_farm import publishing_farm
from tests.support.queues import EMPTY_QUEUES
from tests.support.receiver import receiving
from tests.support.reported_farm import INFLATED_PERCENT, TRUE_PERCENT, World, outcomes, reproduction, take
from tests.support.rows import Rows
from tests.support.scheduler import ControlPlane, control_plane_like
from tests.support.sent_batches import sent_batches

NEWER = {"of_a_later_version": True}
FIRST_CLAIM = select(Claim).order_by(Claim.claim_id).limit(1)


@pytest.fixture
def planned(two_models: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """Two models with claims on two tasks each, found and planned."""
    with control_plane_like(two_models, tmp_path, databases) as plane:
        yield plane


def unreadable(planned: ControlPlane, *, keyed: bool) -> str:
    """Have a later version have planned the oldest run, and be known which engine it needs, or not; its id."""
    oldest = planned.reproductions()[0]
    with planned.database.transaction() as session:
        row = session.get_one(Reproduction, oldest.reproduction_id)
        row.settings = {**row.settings, **NEWER}
        row.engine_key = oldest.engine_key if keyed else None
        row.since = now() - timedelta(days=365)
    return oldest.reproduction_id


def of(planned: ControlPlane, run: str) -> Reproduction:
    with planned.database.reading() as session:
        return session.get_one(Reproduction, run)


def set_aside(planned: ControlPlane) -> float | None:
    return collector.registry(planned.database, Policy()).get_sample_value("reprofarm_reproductions_set_aside")


@pytest.mark.parametrize("keyed", [True, False])
def test_a_run_that_this_version_cannot_read_keeps_no_other_from_being_sent(
    planned: ControlPlane, *, keyed: bool
) -> None:
    run = unreadable(planned, keyed=keyed)
    assert set_aside(planned) == 0
    assert dispatch(planned.database, planned.policy) == 2
    assert sorted(len(batch.orders) for batch in sent_batches(planned.database)) == [1, 2]
    waiting = of(planned, run)
    assert waiting.reason.startswith(f"{SET_ASIDE}this version of the farm cannot read what it is to run with")
    assert "of_a_later_version" in waiting.reason
    assert (waiting.state, waiting.attempt, waiting.failures, waiting.seed) == (ReproductionState.QUEUED, 0, 0, None)
    assert waiting.joinable
    assert waiting.set_aside
    assert set_aside(planned) == 1


def test_where_nothing_else_is_of_that_engine_others_have_its_place(planned: ControlPlane) -> None:
    with planned.database.transaction() as session:
        for row in session.scalars(select(Reproduction).where(Reproduction.model_id == "tiny/one")):
            key = row.engine_key
            row.settings = {**row.settings, **NEWER}
            row.engine_key, row.priority = key, 1
    assert dispatch(planned.database, planned.policy) == 1
    (batch,) = sent_batches(planned.database)
    assert (batch.model.model_id, len(batch.orders)) == ("tiny/two", 2)


def test_it_has_no_deadline_and_is_sent_by_a_version_that_can_read_it(planned: ControlPlane) -> None:
    run = unreadable(planned, keyed=True)
    for _ in range(2):
        dispatch(planned.database, planned.policy)
        assert reap(planned.database, planned.policy, *EMPTY_QUEUES) == 0, "nothing fails"
        with planned.database.transaction() as session:
            session.get_one(Reproduction, run).not_before = now()
    assert planned.history(run).count("set_aside") == 1, "said once"
    with planned.database.transaction() as session:
        row = session.get_one(Reproduction, run)
        row.settings = {name: value for name, value in row.settings.items() if name not in NEWER}
        # Nobody takes what was sent meanwhile, and it has the queue's places.
        for sent in session.scalars(select(Reproduction).where(Reproduction.state == ReproductionState.DISPATCHED)):
            sent.state = ReproductionState.RUNNING
    assert dispatch(planned.database, planned.policy) == 1
    assert of(planned, run).state == ReproductionState.DISPATCHED
    assert not of(planned, run).set_aside
    assert set_aside(planned) == 0


def test_a_claim_whose_rules_cannot_be_read_keeps_only_its_own_run_waiting(planned: ControlPlane) -> None:
    claim = planned.claims()[0]
    with planned.database.transaction() as session:
        row = session.get_one(Claim, claim.claim_id)
        row.rules = {**(row.rules or {}), **NEWER}
    dispatch(planned.database, planned.policy)
    assert sum(len(batch.orders) for batch in sent_batches(planned.database)) == 3
    waiting = of(planned, str(claim.reproduction_id))
    assert f"how claim {claim.claim_id} is to be judged" in waiting.reason
    assert (waiting.state, waiting.seed, waiting.joinable) == (ReproductionState.QUEUED, None, True)


def changed(farm: Farm, what: str) -> Any:
    """Have a later version have written part of what a run was ordered by; what was there before."""
    with farm.database.transaction() as session:
        run, claim = session.scalars(select(Reproduction)).one(), session.scalars(FIRST_CLAIM).first()
        assert claim is not None
        row: Any = claim if what == "rules" else run
        before = getattr(row, what)
        setattr(row, what, {**before, **NEWER})
        return before


@pytest.mark.parametrize("what", ["settings", "stopping", "rules"])
def test_a_report_is_kept_for_a_version_that_can_read_what_was_ordered(world: World, farm: Farm, what: str) -> None:
    before = changed(farm, what)
    for _ in range(5):
        assert not take(farm, world.report)
        kept = reproduction(farm)
        assert (kept.state, kept.attempt, kept.failures) == (ReproductionState.RUNNING, 1, 0)
        assert "its report is kept until" in kept.reason
        assert "this version of the farm cannot read" in kept.reason
        with farm.database.transaction() as session:
            session.scalars(select(Reproduction)).one().lease_until = now() - timedelta(seconds=1)
        assert reap(farm.database, farm.policy, *EMPTY_QUEUES) == 1
    assert outcomes(farm) == {}
    with farm.database.transaction() as session:
        assert len(session.scalars(select(Event).where(Event.what == "report_put_off")).all()) == 1, "said once"
        run, claim = session.scalars(select(Reproduction)).one(), session.scalars(FIRST_CLAIM).first()
        setattr(claim if what == "rules" else run, what, before)
    (again,) = reported_again(farm)
    take(farm, again)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def reported_again(farm: Farm) -> list[Report]:
    """The reports that the farm sends itself now."""
    with farm.database.reading() as session:
        bodies = session.scalars(select(OutboxRow.body).where(OutboxRow.task == REPORT, OutboxRow.sent_at.is_(None)))
        found = [Report.decode(body) for body in bodies]
    relay(farm.database, lambda **_: None)
    return found


def test_a_verdict_that_cannot_be_read_keeps_no_other_from_being_published(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "comment", "verdicts": ["verified", "mismatch"]}) as found:
        complete(found.farm, 100)
        sign_missing(found.farm)
        want_mismatches(found.farm.database, found.farm.policy.publish)
        with found.farm.database.transaction() as session:
            row = session.scalars(select(VerdictRow).where(VerdictRow.outcome == "mismatch")).one()
            row.verdict = {**row.verdict, **NEWER}
            # It is the first.
            session.get_one(Publication, row.claim_id).due_at = now() - timedelta(days=1)
            mismatch = row.claim_id
        found.publish()
        states = found.publications()
        assert states.pop(mismatch) == "pending"
        assert list(states.values()) == ["published"]
        with found.farm.database.reading() as session:
            waiting = session.get_one(Publication, mismatch)
        assert (waiting.tries, waiting.reason) == (1, "ValidationError, of which the control worker's log tells more")


def test_a_webhook_whose_filter_cannot_be_read_keeps_no_other_from_being_told(rows: Rows) -> None:
    of_claims = WantedFilter(kinds=("claim.*",))
    with receiving() as receiver:
        for _ in range(2):
            with rows.database.transaction() as session:
                registry.add(session, NewWebhook(url=receiver.url, filter=of_claims), "operator:olga")
        with rows.database.transaction() as session:
            first = session.scalars(select(Webhook).order_by(Webhook.webhook_id)).first()
            assert first is not None
            first.filter = {**first.filter, **NEWER}
        rows.event("claim", rows.claim(), "decided")
        assert delivery.write_messages(rows.database) == 1
        assert delivery.send_due(rows.database, private=True) == 1
        assert len(receiver.got) == 1
        with rows.database.transaction() as session:
            first = session.scalars(select(Webhook).order_by(Webhook.webhook_id)).first()
            assert first is not None
            first.filter = of_claims.model_dump(mode="json")
        assert delivery.write_messages(rows.database) == 1, "a version that can read it tells it what it missed"
