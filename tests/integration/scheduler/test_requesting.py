"""Somebody asks that a model's claims are verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Retry
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from deploy.localhub.names import RepoName, RepoType
from scheduler.collect.retrying import FIRST_RETRY_SECONDS
from scheduler.control_worker import regular
from scheduler.control_worker.own_messages import BUSY_SECONDS, look_at_wanted
from scheduler.database.expiring_locks import held
from scheduler.database.tables import Claim, Event, Model, OutboxRow
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.record import give_verdict
from scheduler.requests import requesting
from scheduler.requests.intervening import cancel
from scheduler.requests.requesting import LONGEST_PAUSE_SECONDS, LOOK_AT_WANTED, SILENT_FOR, TRIED_FOR, claims_meant
from scheduler.schedule import SCAN
from scheduler.state_machine import ClaimState
from specs.api_v1.actions import VerificationRequest
from specs.errors import HubAway
from specs.judging.verdict import Outcome, Verdict
from specs.policy.budget import BudgetRules
from specs.policy.rules import Policy
from tests.support.asking_again import answer, look_and_verify, request_verification
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane

TIM = "hub:tim"


databases = mostly_sqlite


def wanted(**changed: str | None) -> VerificationRequest:
    return VerificationRequest.model_validate(
        {"model": "tiny/model", "dataset": "acme/bench", "why": "a fixed chat template", **changed}
    )


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(tmp_path, databases, Policy(budget=BudgetRules(gpu_seconds_per_day=0.001))) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench")
        plane.scan()
        model = add_model(hub, "tiny/model")
        submit(hub, model, entry("acme/bench", 0.5))
        submit(hub, model, entry("acme/bench", 0.9), author="fan", create_pr=True, name="fan.yaml")
        yield plane


def test_a_model_not_seen_yet_is_looked_at_and_its_claims_stay_within_the_budget(farm: ControlPlane) -> None:
    found = request_verification(farm.database, wanted(), TIM, set())
    assert found.claim_ids == []
    with farm.database.reading() as session:
        message = session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).one()
    for _ in range(2):  # A message may come twice.
        answer(farm.database, farm.hub, message.message_id)
    assert [(claim.ref, claim.state) for claim in farm.claims()] == [("main", "submitted"), ("refs/pr/1", "submitted")]
    farm.plan()
    for claim in farm.claims():
        assert claim.state == ClaimState.BLOCKED
        assert "budget" in claim.reason


@ON_BOTH
def test_a_request_that_is_not_in_the_outbox_is_nobodys(farm: ControlPlane) -> None:
    request_verification(farm.database, wanted(), TIM, set())
    with farm.database.reading() as session:
        body = session.scalars(select(OutboxRow.body)).one()
    with farm.database.transaction() as session:
        session.add(OutboxRow(message_id="of-another-task", queue="control", task="scheduler.sign", body=body))
    for message_id in ("made-up", "of-another-task"):
        answer(farm.database, farm.hub, message_id)
    assert farm.claims() == []


@ON_BOTH
def test_a_request_is_about_a_task_and_a_revision_where_it_names_them(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(), TIM)
    main, pull_request = farm.claims()

    def meant(**changed: str | None) -> list[str]:
        with farm.database.reading() as session:
            return [claim.claim_id for claim in claims_meant(session, wanted(**changed))]

    assert meant() == meant(task="capitals") == [main.claim_id, pull_request.claim_id]
    assert meant(task="other") == meant(dataset="acme/other") == meant(model="tiny/other") == []
    assert meant(revision="main") == meant(revision=main.commit) == meant(revision=main.commit[:9]) == [main.claim_id]
    assert meant(revision="refs/pr/1") == meant(revision=pull_request.commit) == [pull_request.claim_id]
    assert meant(revision="0" * 40) == []


def test_a_commit_that_the_farm_has_not_seen_has_it_look_again(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(), TIM)
    assert "looks at it" in request_verification(farm.database, wanted(revision="0" * 40), TIM, set()).lines[0]


def test_a_claim_on_its_way_is_left_alone_and_says_where_it_is(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(), TIM)
    found = request_verification(farm.database, wanted(revision="main"), TIM, set())
    main = farm.claims()[0]
    assert found.claim_ids == [main.claim_id]
    assert found.lines == [f"claim {main.claim_id} is submitted: {main.reason}"]


def test_what_waits_is_tried_again_only_where_whoever_asks_may(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(), TIM)
    main, other = farm.claims()
    for claim in (main, other):
        cancel(farm.database, claim.claim_id, "later", "operator:ada")
    request_verification(farm.database, wanted(), TIM, {main.claim_id})
    assert [claim.state for claim in farm.claims()] == [ClaimState.SUBMITTED, ClaimState.BLOCKED]


def test_a_decided_claim_is_verified_again_as_a_new_one_and_a_refusal_is_a_line(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(), TIM)
    main = farm.claims()[0]
    with farm.database.transaction() as session:
        claim = session.get_one(Claim, main.claim_id)
        give_verdict(session, claim, Verdict(outcome=Outcome.MISMATCH, reason="lies outside", comparison=None))
    found = request_verification(farm.database, wanted(revision="main"), TIM, set())
    (anew,) = found.claim_ids
    assert anew != main.claim_id
    assert f"the same entry is now claim {anew}, which a fresh run decides" in found.lines
    with farm.database.transaction() as session:
        give_verdict(
            session, session.get_one(Claim, anew), Verdict(outcome=Outcome.MISMATCH, reason="again", comparison=None)
        )
    # Nobody has it run until it passes.
    again = request_verification(farm.database, wanted(revision="main"), TIM, set())
    assert again.claim_ids == [anew]
    assert "was verified again not long ago, and its verdict stands" in again.lines[0]


@ON_BOTH
def test_a_model_that_the_hub_does_not_have_leaves_a_line_in_the_record(farm: ControlPlane) -> None:
    look_and_verify(farm.database, farm.hub, wanted(model="tiny/nothing"), TIM)
    look_and_verify(farm.database, farm.hub, wanted(dataset="acme/none"), TIM)
    with farm.database.reading() as session:
        said = session.scalars(select(Event.why).where(Event.what == "looked_at").order_by(Event.event_id)).all()
    assert "asked by hub:tim: the Hub has no such model" in said[0]
    assert "no claim on acme/none" in said[1]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("speaks_for_model", [False, True])
def test_a_private_model_is_looked_at_for_nobody_who_does_not_speak_for_it(
    farm: ControlPlane, *, speaks_for_model: bool, moved: bool
) -> None:
    hub = farm.served.local
    secret = RepoName(RepoType.MODEL, "tiny/model")
    hub.set_private(secret, private=True)
    if moved:
        hub.move_repo(secret, RepoName(RepoType.MODEL, "tiny/secret"))
    farm.hub = Hub(farm.served.url, hub.add_token("farm", orgs=("tiny",)), request_seconds=30)
    request_verification(farm.database, wanted(), TIM, set(), speaks_for_model=speaks_for_model)
    with farm.database.reading() as session:
        message = session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).one()
    answer(farm.database, farm.hub, message.message_id)
    with farm.database.reading() as session:
        said = session.scalars(select(Event.why).where(Event.what == "looked_at")).all()
        known = session.get(Model, "tiny/model")
    if speaks_for_model:
        assert [bool(known), "tiny/secret" in "".join(said)] == [not moved, moved]
    else:
        assert said == ["asked by hub:tim: the Hub has no such model, or does not show it to the farm"]
        assert known is None


def asked_for(farm: ControlPlane) -> OutboxRow:
    """The message of a request for a model that the farm does not know, which was sent just now."""
    request_verification(farm.database, wanted(), TIM, set())
    outbox.relay(farm.database, lambda **_: None)
    with farm.database.reading() as session:
        return session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).one()


def as_if_longer_ago(farm: ControlPlane, name: str, by: timedelta) -> None:
    with farm.database.transaction() as session:
        for row in session.scalars(select(OutboxRow)):
            setattr(row, name, getattr(row, name) - by)


def deliver(message_id: str, retries: int = 0) -> float | None:
    """Have a control worker take a message; seconds until it does so again, or None."""
    task: Any = look_at_wanted
    # Eager, or it would be sent.
    task.push_request(id=message_id, retries=retries, called_directly=False, is_eager=True)
    try:
        task.run({})
    except Retry as again:
        return again.when if isinstance(again.when, float) else None
    finally:
        task.pop_request()
    return None


@pytest.fixture
def worker(farm: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)


@ON_BOTH
@pytest.mark.usefixtures("worker")
def test_a_model_is_not_looked_at_while_a_scan_may_be_at_it_but_soon_after(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = asked_for(farm)
    with monkeypatch.context() as patched, held(farm.database, SCAN, timedelta(minutes=30)):
        patched.setattr(requesting, "answer", lambda *_: pytest.fail("two looks at once"))
        # However long one scan follows on another.
        assert [deliver(message.message_id, retries) for retries in (0, 100)] == [BUSY_SECONDS, BUSY_SECONDS]
    assert deliver(message.message_id, 101) is None
    assert len(farm.claims()) == 2


@pytest.mark.usefixtures("worker")
def test_a_model_that_was_asked_for_while_the_database_was_away_is_looked_at_later(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = asked_for(farm)

    def away(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))

    with monkeypatch.context() as patched:
        patched.setattr(requesting, "answer", away)
        assert deliver(message.message_id) == FIRST_RETRY_SECONDS
        assert deliver(message.message_id, 100) == LONGEST_PAUSE_SECONDS
    assert deliver(message.message_id, 1) is None
    assert len(farm.claims()) == 2


def test_a_request_of_which_nothing_is_heard_is_sent_again_and_given_up_on_the_record(farm: ControlPlane) -> None:
    message = asked_for(farm)
    assert requesting.send_lost_again(farm.database) == 0
    # As if Redis was emptied, or the control worker killed while it looked.
    as_if_longer_ago(farm, "sent_at", SILENT_FOR)
    assert requesting.send_lost_again(farm.database) == 1
    sent: list[str] = []
    outbox.relay(farm.database, lambda **said: sent.append(said["message_id"]))
    assert sent == [message.message_id]
    # Heard of, so it goes on.
    as_if_longer_ago(farm, "sent_at", SILENT_FOR)
    assert requesting.goes_on(farm.database, message.message_id, "the Hub is away", LONGEST_PAUSE_SECONDS)
    as_if_longer_ago(farm, "sent_at", timedelta(seconds=LONGEST_PAUSE_SECONDS))
    assert requesting.send_lost_again(farm.database) == 0
    as_if_longer_ago(farm, "sent_at", SILENT_FOR)
    as_if_longer_ago(farm, "created_at", TRIED_FOR)
    assert requesting.send_lost_again(farm.database) == 1
    assert given_up(farm, message) == [
        "asked by hub:tim: could not be looked at, as nobody who looked came to an end; ask again"
    ]


@pytest.mark.usefixtures("worker")
def test_a_request_that_nobody_answered_before_a_day_of_downtime_is_given_up_on_the_record(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = asked_for(farm)
    for name in ("created_at", "sent_at"):
        as_if_longer_ago(farm, name, outbox.KEPT)
    monkeypatch.setattr(regular, "own_queues", lambda _: set())
    monkeypatch.setattr(regular, "forget_queues", lambda *_: None)
    # What beat has done first when it is back.
    regular.tidy_outbox()
    assert given_up(farm, message) == [
        "asked by hub:tim: could not be looked at, as nobody who looked came to an end; ask again"
    ]


@pytest.mark.usefixtures("worker")
def test_a_request_for_which_the_hub_wants_hours_is_sent_once_more_when_it_is_due_and_not_kept_by_the_broker(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = asked_for(farm)
    pauses = [60.0, 7200.0]

    def busy(*_: object) -> None:
        raise HubAway("the Hub is busy", pauses.pop(0))

    with monkeypatch.context() as patched:
        patched.setattr(requesting, "answer", busy)
        assert deliver(message.message_id) == 60.0
        # The broker would hand it out again each hour, and each copy have copies of its own.
        assert deliver(message.message_id, 1) is None
    for seconds, sent in ((7100, 0), (101, 1)):
        as_if_longer_ago(farm, "sent_at", timedelta(seconds=seconds))
        # What beat has done each minute; each hour would be up to an hour late.
        regular.reverify_stale()
        assert outbox.relay(farm.database, lambda **_: None) == sent
    assert deliver(message.message_id) is None
    assert len(farm.claims()) == 2


@ON_BOTH
@pytest.mark.usefixtures("worker")
def test_a_request_for_which_the_hub_wants_longer_than_it_is_tried_for_is_given_up_at_once(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = asked_for(farm)

    def busy(*_: object) -> None:
        raise HubAway("the Hub asks to wait for a day", 86400.0)

    monkeypatch.setattr(requesting, "answer", busy)
    assert deliver(message.message_id) is None
    assert given_up(farm, message) == [
        "asked by hub:tim: could not be looked at, as the Hub asks to wait for a day; ask again"
    ]


def given_up(farm: ControlPlane, message: OutboxRow) -> list[str]:
    with farm.database.reading() as session:
        assert session.get(OutboxRow, message.message_id) is None
        return list(session.scalars(select(Event.why).where(Event.what == "looked_at")))


@ON_BOTH
@pytest.mark.usefixtures("worker")
def test_a_model_that_could_not_be_looked_at_for_hours_leaves_a_line_in_the_record(farm: ControlPlane) -> None:
    message = asked_for(farm)
    as_if_longer_ago(farm, "created_at", TRIED_FOR)
    with held(farm.database, SCAN, timedelta(minutes=30)):
        assert deliver(message.message_id) is None
    assert given_up(farm, message) == [
        "asked by hub:tim: could not be looked at, as another look at the Hub is under way; ask again"
    ]
