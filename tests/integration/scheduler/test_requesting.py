"""Somebody asks that a model's claims are verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Retry
from sqlalchemy import select

from deploy.localhub.names import RepoName, RepoType
from scheduler.control_worker.own_messages import LOOKS, look_at_wanted
from scheduler.database.expiring_locks import held
from scheduler.database.tables import Claim, Event, Model, OutboxRow
from scheduler.hub.hub import Hub
from scheduler.record import give_verdict
from scheduler.requests import requesting
from scheduler.requests.intervening import cancel
from scheduler.requests.requesting import LOOK_AT_WANTED, claims_meant
from scheduler.schedule import SCAN
from scheduler.state_machine import ClaimState
from specs.api_v1.actions import VerificationRequest
from specs.judging.verdict import Outcome, Verdict
from specs.policy.budget import BudgetRules
from specs.policy.rules import Policy
from tests.support.asking_again import answer, look_and_verify, request_verification
from tests.support.databases import Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane

TIM = "hub:tim"


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


def test_a_request_that_is_not_in_the_outbox_is_nobodys(farm: ControlPlane) -> None:
    request_verification(farm.database, wanted(), TIM, set())
    with farm.database.reading() as session:
        body = session.scalars(select(OutboxRow.body)).one()
    with farm.database.transaction() as session:
        session.add(OutboxRow(message_id="of-another-task", queue="control", task="scheduler.sign", body=body))
    for message_id in ("made-up", "of-another-task"):
        answer(farm.database, farm.hub, message_id)
    assert farm.claims() == []


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


def test_a_model_is_not_looked_at_while_a_scan_may_be_at_it(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    monkeypatch.setattr(requesting, "answer", lambda *_: pytest.fail("two looks at once"))
    with held(farm.database, SCAN, timedelta(minutes=30)), pytest.raises(Retry):
        look_at_wanted({})


def test_a_model_that_could_not_be_looked_at_for_hours_leaves_a_line_in_the_record(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: farm)
    request_verification(farm.database, wanted(), TIM, set())
    with farm.database.reading() as session:
        (message,) = session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).all()
    task: Any = look_at_wanted
    task.push_request(id=message.message_id, retries=LOOKS)
    try:
        with held(farm.database, SCAN, timedelta(minutes=30)):
            task.run({})
    finally:
        task.pop_request()
    with farm.database.reading() as session:
        said = session.scalars(select(Event.why).where(Event.what == "looked_at")).all()
        assert session.get(OutboxRow, message.message_id) is None
    assert said == [
        "asked by hub:tim: not looked at after several tries, as another look at the Hub is under way; ask again"
    ]
