"""Figures that count on: exact, never falling, and cheap however much there is behind them."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import delete, select

from scheduler.collect.kept_reports import KEPT
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, HubLimit, Marker, Reproduction, VerdictRow, now
from scheduler.database.tables.marker import AWAITED, REAPER_LOOKED
from scheduler.hub.hub import Hub
from scheduler.metrics import collector, totals
from scheduler.metrics.totals import Totals
from scheduler.reaping.reaper import reap
from scheduler.record import move_reproduction
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome
from specs.messages import AWAITS_STORE, Stage
from specs.policy.budget import BudgetLimits, BudgetRules
from specs.policy.publish import PublishRules
from specs.policy.rules import Policy
from tests.support.localhub import running_hub
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import Rows, comparison
from tests.support.waiting import until


def failed(rows: Rows, minutes_ago: float) -> None:
    claim_id = rows.decided(Outcome.FAILED)
    with rows.database.transaction() as session:
        session.get_one(VerdictRow, claim_id).decided_at = now() - timedelta(minutes=minutes_ago)


def read(database: Database, found: Totals, minutes_later: float = 0.0) -> float:
    with database.reading() as session:
        return found.read(session, now() + timedelta(minutes=minutes_later)).get((str(Outcome.FAILED),), 0)


def test_a_total_counts_everything_once_as_time_goes_on(rows: Rows) -> None:
    found = Totals(totals.verdicts)
    for minutes_ago in (60, 9, 1):
        failed(rows, minutes_ago)
    assert read(rows.database, found) == 3
    assert read(rows.database, found, 5) == 3
    # A transaction that took long: its time lies before the scrape that did not see it.
    failed(rows, 4)
    assert read(rows.database, found, 5) == 4
    assert read(rows.database, found, 120) == 4
    failed(rows, -121)
    assert read(rows.database, found, 122) == 5


def test_a_scrape_reads_nothing_that_an_earlier_one_has_settled(rows: Rows) -> None:
    found = Totals(totals.verdicts)
    failed(rows, 60)
    assert read(rows.database, found) == 1
    with rows.database.transaction() as session:
        session.execute(delete(VerdictRow))
    assert read(rows.database, found) == 1
    assert read(rows.database, Totals(totals.verdicts)) == 0


def scraped(database: Database) -> CollectorRegistry:
    return collector.registry(database, Policy())


def test_a_database_that_says_nothing_is_away_before_prometheus_gives_up_and_is_asked_once_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert collector.ANSWER_SECONDS <= 8, "Prometheus waits for ten"
    monkeypatch.setattr(collector, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Without TLS, for which libpq would connect a second time.
        address = f"127.0.0.1:{silent.getsockname()[1]}/farm?sslmode=disable"
        figures = scraped(Database(f"postgresql+psycopg://farm@{address}"))
        assert [figures.get_sample_value("reprofarm_database_up") for _ in range(3)] == [0, 0, 0]
        asked, _ = silent.accept()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
        asked.close()

        def asked_anew() -> bool:
            assert figures.get_sample_value("reprofarm_database_up") == 0
            with suppress(BlockingIOError):
                silent.accept()[0].close()
                return True
            return False

        until(asked_anew)


def test_the_same_farm_gives_every_process_the_same_figures(rows: Rows) -> None:
    rows.verified()
    rows.decided(Outcome.MISMATCH)
    rows.running()
    one, other = scraped(rows.database), scraped(rows.database)
    for name, labels in (
        ("reprofarm_verdicts_total", {"outcome": "verified"}),
        ("reprofarm_samples_counted_total", {}),
        ("reprofarm_attempts_total", {"pool": "cpu", "outcome": "completed"}),
    ):
        assert one.get_sample_value(name, labels) == other.get_sample_value(name, labels) != 0


def test_seconds_are_the_same_to_whoever_adds_them_up(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(seconds: float) -> None:
        run = rows.reproduction(state=ReproductionState.COMPLETED, attempt=1, gpu_seconds=seconds)
        rows.attempt(run, 1, outcome="completed", ended_at=now())

    def told(figures: CollectorRegistry) -> float | None:
        return figures.get_sample_value("reprofarm_reproduction_gpu_seconds_sum", {"pool": "cpu"})

    monkeypatch.setattr(totals, "SETTLED_AFTER", timedelta(0))
    earlier = scraped(rows.database)
    completed(0.1)
    assert told(earlier) == 0.1
    completed(0.2)
    completed(0.3)
    # As floats, 0.1 and 0.5 are not the 0.6000000000000001 of all three in a row.
    assert told(earlier) == told(scraped(rows.database)) == 0.6


def test_a_verified_claim_that_waits_for_its_badge_shows_and_no_other(rows: Rows) -> None:
    figures = scraped(rows.database)
    rows.verified()
    failed(rows, 30)
    withdrawn = rows.decided(Outcome.VERIFIED, found=comparison())
    with rows.database.transaction() as session:
        # Nobody signs it any more.
        session.get_one(Claim, withdrawn).state = ClaimState.WITHDRAWN
        session.get_one(VerdictRow, withdrawn).decided_at = now() - timedelta(minutes=40)
    assert figures.get_sample_value("reprofarm_unsigned_age_seconds") == 0
    waits = rows.decided(Outcome.VERIFIED, found=comparison())
    with rows.database.transaction() as session:
        session.get_one(VerdictRow, waits).decided_at = now() - timedelta(minutes=8)
    age = figures.get_sample_value("reprofarm_unsigned_age_seconds")
    assert age is not None
    assert 480 <= age < 600


def test_a_verified_claim_shows_for_as_long_as_it_waits_for_its_badge(rows: Rows) -> None:
    waiting = {rows.decided(Outcome.VERIFIED, found=comparison()): hours for hours in (200, 100, 1)}
    with rows.database.transaction() as session:
        for claim_id, hours in waiting.items():
            session.get_one(VerdictRow, claim_id).decided_at = now() - timedelta(hours=hours)
    earlier = scraped(rows.database)
    for claim_id, hours in waiting.items():
        for figures in (earlier, earlier, scraped(rows.database)):
            age = figures.get_sample_value("reprofarm_unsigned_age_seconds")
            assert age == pytest.approx(hours * 3600, abs=600)
        rows.add(Badge(claim_id=claim_id, badge_id=claim_id[:32], token="signed", key_id="key"))
    assert earlier.get_sample_value("reprofarm_unsigned_age_seconds") == 0
    # Its transaction began before that scrape.
    late = rows.decided(Outcome.VERIFIED, found=comparison())
    with rows.database.transaction() as session:
        session.get_one(VerdictRow, late).decided_at = now() - timedelta(minutes=5)
    assert earlier.get_sample_value("reprofarm_unsigned_age_seconds") == pytest.approx(300, abs=120)


def test_runs_that_wait_for_the_evidence_store_show_and_no_others(rows: Rows) -> None:
    figures = scraped(rows.database)

    def in_flight(reason: str = "", **fields: Any) -> None:
        run = rows.reproduction(state=ReproductionState.RUNNING, attempt=1, worker="w1@host", reason=reason)
        rows.attempt(run, 1, worker="w1@host", **fields)

    in_flight(stage=Stage.RUNNING, detail=f"{AWAITS_STORE}: says a model, whose run goes on")
    in_flight(stage=Stage.STORING, detail="INFO: Application shutdown complete")
    in_flight(stage=Stage.STORING, report={"ref": "one that is being checked"}, report_checks=1)
    assert figures.get_sample_value("reprofarm_runs_awaiting_store") == 0
    in_flight(stage=Stage.STORING, detail=f"{AWAITS_STORE}: the evidence store cannot be written")
    in_flight(f"attempt 1 is done, and {KEPT} …", stage=Stage.STORING, report={"ref": "one that was put off"})
    assert figures.get_sample_value("reprofarm_runs_awaiting_store") == 2


def test_a_publication_that_is_due_and_not_written_shows_where_policy_wants_it(rows: Rows) -> None:
    def age(mode: Literal["off", "comment"]) -> float | None:
        figures = collector.registry(rows.database, Policy(publish=PublishRules(mode=mode)))
        return figures.get_sample_value("reprofarm_publication_age_seconds")

    claim_id, ago = rows.verified(), now() - timedelta(hours=2)
    rows.publication(rows.verified(), due_at=now() + timedelta(hours=1))
    rows.publication(rows.verified(), state="published", due_at=None)
    assert age("comment") == 0
    rows.publication(claim_id, due_at=ago)
    found = age("comment")
    assert found is not None
    assert 7200 <= found < 9000
    assert age("off") == 0, "it waits for another policy"
    with rows.database.transaction() as session:
        session.get_one(Badge, claim_id).revoked_at = now()
    assert age("off") != 0, "a badge that is revoked is taken back whatever policy says"


def test_a_farm_of_which_no_scan_ever_got_through_shows_since_when_one_is_awaited(rows: Rows) -> None:
    with rows.database.transaction() as session:
        session.get_one(Marker, AWAITED).at -= timedelta(hours=1)
    age = scraped(rows.database).get_sample_value("reprofarm_scan_age_seconds")
    assert age is not None
    assert age >= 3600


def test_what_waits_is_as_old_as_its_wait_and_what_is_meant_to_wait_does_not_count(rows: Rows) -> None:
    def waited(**fields: Any) -> float | None:
        rows.reproduction(**{"pool": "h100", "created_at": ago, **fields})
        figures = scraped(rows.database)
        return figures.get_sample_value("reprofarm_queue_age_seconds", {"pool": "h100", "priority": "author"})

    ago, lately = now() - timedelta(hours=9), now() - timedelta(minutes=10)
    assert waited(since=ago, state=ReproductionState.RUNNING) == 0
    assert waited(since=ago, set_aside=True) == 0
    assert waited(since=ago, not_before=now() + timedelta(hours=1)) == 0
    handed_back = waited(since=lately, not_before=lately)
    assert handed_back is not None
    assert 600 <= handed_back < 3600
    longest = waited(since=ago, state=ReproductionState.DISPATCHED)
    assert longest is not None
    assert longest >= 9 * 3600


def test_a_wait_goes_on_with_the_broker_and_begins_anew_behind_a_run(rows: Rows) -> None:
    run = rows.reproduction(pool="h100", since=now() - timedelta(hours=9))

    def waited(*states: ReproductionState) -> int:
        """Whole hours, after these."""
        for state in states:
            with rows.database.transaction() as session:
                move_reproduction(session, session.get_one(Reproduction, run), state, "because")
        labels = {"pool": "h100", "priority": "author"}
        return int((scraped(rows.database).get_sample_value("reprofarm_queue_age_seconds", labels) or 0) // 3600)

    queued, dispatched = ReproductionState.QUEUED, ReproductionState.DISPATCHED
    assert (waited(), waited(dispatched), waited(queued)) == (9, 9, 9)
    assert waited(dispatched, ReproductionState.RUNNING, queued) == 0


@pytest.mark.parametrize("ago", [timedelta(minutes=10), -timedelta(minutes=15)])
def test_how_long_ago_anybody_did_what_beat_asks_for_also_by_a_clock_that_was_set_back(
    rows: Rows, ago: timedelta
) -> None:
    figures = scraped(rows.database)
    with rows.database.transaction() as session:
        session.get_one(Marker, AWAITED).at -= timedelta(hours=1)
    age = figures.get_sample_value("reprofarm_reaper_age_seconds")
    assert age is not None
    assert age >= 3600, "nobody ever has"
    reap(rows.database, Policy(), *EMPTY_QUEUES)
    with rows.database.transaction() as session:
        session.get_one(Marker, REAPER_LOOKED).at -= ago
    age = figures.get_sample_value("reprofarm_reaper_age_seconds")
    assert age is not None
    assert 600 <= age < 1200
    reap(rows.database, Policy(), *EMPTY_QUEUES)
    age = figures.get_sample_value("reprofarm_reaper_age_seconds")
    assert age is not None
    assert age < 600


def test_what_is_left_of_a_budget_counts_what_was_planned_today_and_by_whom(rows: Rows) -> None:
    rows.reproduction(gpu_seconds=300.0, created_at=now())
    rows.reproduction(gpu_seconds=150.0, created_at=now(), community=True)
    rows.reproduction(gpu_seconds=900.0)
    budget = BudgetRules(gpu_seconds_per_day=1000, community=BudgetLimits(gpu_seconds_per_day=100))
    found = collector.registry(rows.database, Policy(budget=budget))
    left = "reprofarm_budget_left_gpu_seconds"
    assert found.get_sample_value(left, {"scope": "farm"}) == 550
    assert found.get_sample_value(left, {"scope": "community"}) == -50
    assert scraped(rows.database).get_sample_value(left, {"scope": "farm"}) is None, "policy sets none"


def test_what_the_hub_says_of_its_limit_is_kept_whoever_asked(tmp_path: Path, rows: Rows) -> None:
    with running_hub(tmp_path / "hub") as served:
        served.local.add_token("acme")
        hub = Hub(served.url, None, 30.0)
        assert hub.benchmarks() == []
        hub.limits.note(rows.database)
    with rows.database.reading() as session:
        (limit,) = session.scalars(select(HubLimit)).all()
    assert limit.resource == "api"
    assert limit.quota == 1000
    assert 0 < limit.remaining < 1000
    assert now() < limit.resets_at <= now() + timedelta(seconds=300)
    assert (
        scraped(rows.database).get_sample_value("reprofarm_hub_requests_left", {"resource": "api"}) == limit.remaining
    )
