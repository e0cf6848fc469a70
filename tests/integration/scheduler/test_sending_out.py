"""What planners and signers remember between two looks, and what is not sent twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from deploy.bench.api_rows import RULES
from deploy.bench.load_rows import add_claims, load_policy
from scheduler.badges import issuing
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, Event, OutboxRow, Reproduction, VerdictRow, now
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.planning import planning
from scheduler.planning.joinable_runs import JoinableRuns
from scheduler.settings import Settings
from scheduler.state_machine import ClaimState
from specs.engine_key import engine_key
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from tests.support.rows import Rows

HUB = Hub("http://127.0.0.1:9", None, request_seconds=5)


def test_what_went_out_before_the_broker_failed_is_not_sent_again(database: Database) -> None:
    with database.transaction() as session:
        for number in range(5):
            outbox.put(session, queue="q", task="t", body={"number": number}, message_id=f"{number:032x}")
    sent: list[str] = []

    def fails_at_the_fourth(**message: object) -> None:
        if len(sent) == 3:
            raise ConnectionError("the broker is away")
        sent.append(str(message["message_id"]))

    with pytest.raises(ConnectionError):
        outbox.relay(database, fails_at_the_fourth)
    with database.reading() as session:
        unsent = set(session.scalars(select(OutboxRow.message_id).where(OutboxRow.sent_at.is_(None))))
    assert unsent == {f"{number:032x}" for number in range(5)} - set(sent)
    assert outbox.relay(database, lambda **message: sent.append(str(message["message_id"]))) == 2
    assert sorted(sent) == [f"{number:032x}" for number in range(5)]


# A farm on SQLite has one control worker.
@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_what_one_control_worker_is_sending_no_other_one_sends(database: Database) -> None:
    with database.transaction() as session:
        for number in range(2 * outbox.MARKED_AT_ONCE):
            outbox.put(session, queue="q", task="t", body={}, message_id=f"{number:032x}")
    sent: list[str] = []

    def send(**message: object) -> None:
        sent.append(str(message["message_id"]))
        if len(sent) == 1:
            # The other one, in the middle of it.
            assert outbox.relay(database, send) == outbox.MARKED_AT_ONCE

    assert outbox.relay(database, send) == outbox.MARKED_AT_ONCE
    assert sorted(sent) == [f"{number:032x}" for number in range(2 * outbox.MARKED_AT_ONCE)]


def test_claims_that_come_together_share_the_run_that_the_first_of_them_needs(database: Database) -> None:
    add_claims(database, 60, sharing=10, community_part=0.5)
    assert planning.plan(database, HUB, load_policy()) == 60
    with database.reading() as session:
        runs = session.scalars(select(Reproduction)).all()
        claims = session.scalars(select(Claim)).all()
        queued = session.scalars(select(Event).where(Event.subject == "reproduction", Event.what == "queued")).all()
    assert len(runs) == 6
    assert {claim.state for claim in claims} == {ClaimState.PLANNED}
    assert len(queued) == 6, "each run is announced once"


def test_a_planner_that_meets_another_over_one_run_plans_the_other_claims_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_claims(database, 10)
    look = JoinableRuns.look_again

    def too_late(self: JoinableRuns, keys: list[str]) -> None:
        look(self, keys)
        if len(keys) > 1:
            # The other planner commits the run of one claim after this one's look. (SQLite has one writer at a time,
            # so this one makes both.)
            other = Reproduction(
                key=sorted(keys)[0],
                model_id="org0/model0",
                model_revision="c" * 40,
                weights_sha256="0" * 64,
                weights_bytes=1,
                dataset_id="bench/many",
                dataset_revision="c" * 40,
                spec_sha256="0" * 64,
                settings={},
                pool="small",
                priority=20,
            )
            self._session.add(other)

    monkeypatch.setattr(JoinableRuns, "look_again", too_late)
    planning.plan(database, HUB, load_policy())
    with database.reading() as session:
        states = session.scalars(select(Claim.state)).all()
        runs = session.scalars(select(Reproduction)).all()
    assert set(states) == {ClaimState.PLANNED}
    assert len(runs) == 10


def test_once_a_run_is_asked_for_anew_the_earlier_ones_answer_nobody_else(database: Database) -> None:
    rows = Rows(database)
    rows.reproduction(key="k", complete=True, joinable=False)
    with database.transaction() as session:
        shared = JoinableRuns(session, {"k"})
        earlier = shared.find("k", None)
        assert earlier is not None
        assert shared.find("k", now()) is None, "it is older than that"
        fresh = Reproduction(key="k", asked_anew=True, joinable=True, complete=False, created_at=now(), since=now())
        shared.add(fresh)
        assert shared.find("k", None) is fresh
        session.rollback()


def test_badges_that_are_missing_are_looked_for_among_the_latest_once_none_is_left(
    database: Database, tmp_path: Path
) -> None:
    key = tmp_path / "signing.pem"
    rows = Rows(database)
    first = rows.verified()
    with database.transaction() as session:
        for badge in session.scalars(select(Badge)):
            session.delete(badge)
        session.execute(update(VerdictRow).values(decided_at=now() - timedelta(days=3)))
        session.execute(update(Claim).values(rules=RULES))
    missing = issuing.Missing(Farm(Settings(database_url=database.url, signing_key=key)))
    # No key: nothing counts as looked at, however old it is.
    missing.sign()
    missing.sign()
    assert badges(database) == set()
    Signer.create(key)
    missing.sign()
    assert badges(database) == {first}
    with database.transaction() as session:
        session.delete(session.get_one(Badge, first))
    missing.sign()
    assert badges(database) == set(), "an old one is not looked at again by this process"
    issuing.Missing(Farm(Settings(database_url=database.url, signing_key=key))).sign()
    assert badges(database) == {first}


def test_a_badge_that_could_not_be_signed_for_hours_is_looked_for_by_the_same_process(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "signing.pem"
    Signer.create(key)
    missing = issuing.Missing(Farm(Settings(database_url=database.url, signing_key=key)))
    rows = Rows(database)
    first, second = rows.verified(), rows.verified()
    with database.transaction() as session:
        session.execute(update(Claim).values(rules=RULES))
        session.delete(session.get_one(Badge, first))
    missing.sign()
    assert badges(database) == {first, second}
    # Decided, and then the broker, or the database, was away for a night.
    with database.transaction() as session:
        session.delete(session.get_one(Badge, second))
        session.get_one(VerdictRow, second).decided_at = now()
    morning = now() + timedelta(hours=10)
    monkeypatch.setattr(issuing, "now", lambda: morning)
    missing.sign()
    assert badges(database) == {first, second}


def test_what_cannot_be_signed_keeps_no_later_badge_from_being_signed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "SIGNED_AT_ONCE", 2)
    rows = Rows(database)
    verified = [rows.verified() for _ in range(5)]
    with database.transaction() as session:
        session.execute(delete(Badge))
        session.execute(update(Claim).values(rules=RULES))
        # The oldest three have no figures to state.
        for claim_id in verified[:3]:
            session.get_one(Claim, claim_id).value = None
    key = tmp_path / "signing.pem"
    Signer.create(key)
    assert issuing.sign_missing(Farm(Settings(database_url=database.url, signing_key=key)))
    assert badges(database) == set(verified[3:])


def test_a_verdict_that_is_no_proof_is_tried_and_told_of_now_and_then_for_as_long_as_it_is_there(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim_id = Rows(database).verified()
    with database.transaction() as session:
        session.execute(delete(Badge))
        claimed = session.scalars(select(Claim.value)).one()
        session.execute(update(Claim).values(rules=RULES, value=None))
    key = tmp_path / "signing.pem"
    Signer.create(key)
    began = now()
    missing = issuing.Missing(Farm(Settings(database_url=database.url, signing_key=key)))
    told = []
    for minutes in (0, 1, 11, 12, 100, 101, 2000, 2001):
        monkeypatch.setattr(issuing, "now", lambda minutes=minutes: began + timedelta(minutes=minutes))
        caplog.clear()
        missing.sign()
        told.append(caplog.text.count(f"no badge: claim {claim_id}"))
    assert told == [1, 0, 1, 0, 1, 0, 1, 0]
    with database.transaction() as session:
        session.execute(update(Claim).values(value=claimed))
    monkeypatch.setattr(issuing, "now", lambda: began + timedelta(minutes=3000))
    missing.sign()
    assert badges(database) == {claim_id}


def test_badges_of_which_another_signer_was_first_with_one_are_kept_all_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(database)
    first, *others = rows.verified(), rows.verified(), rows.verified()
    with database.transaction() as session:
        session.execute(delete(Badge).where(Badge.claim_id.in_(others)))
        session.execute(update(Claim).values(rules=RULES))
    key = tmp_path / "signing.pem"
    Signer.create(key)
    # This signer looked before the other one's badge was there.
    monkeypatch.setattr(issuing, "_lacks_badge", lambda _: True)
    issuing.sign(Farm(Settings(database_url=database.url, signing_key=key)), [first, *others])
    with database.reading() as session:
        signed = session.scalars(select(Event.subject_id).where(Event.what == "badge")).all()
    assert badges(database) == {first, *others}
    assert sorted(signed) == sorted(others), "of the badge that was refused nothing is said"


def test_planning_says_which_engine_a_run_needs(database: Database) -> None:
    add_claims(database, 5)
    planning.plan(database, HUB, load_policy())
    with database.reading() as session:
        runs = session.scalars(select(Reproduction)).all()
        assert len(runs) == 5
        for run in runs:
            rules = EngineRules.model_validate(run.settings["engine"], strict=False)
            model = ModelRef(model_id=run.model_id, revision=run.model_revision)
            assert run.engine_key == engine_key(model, rules, run.settings["gpus"])


def badges(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(Badge.claim_id)))
