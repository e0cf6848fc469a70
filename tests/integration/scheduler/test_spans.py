"""What a collector of traces is told once something is over, and how: a real exporter and a real receiver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.serving import QuietHandler, answered_by
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.record import add_event, move_reproduction
from scheduler.state_machine import ReproductionState
from scheduler.telemetry.spans import spans_of, trace_changes
from specs.processes.spans import PastSpan, Place, Spans, open_spans
from tests.support.collector import Collector, collecting
from tests.support.rows import BEGINNING, Rows
from tests.support.scheduler import migrated_database
from tests.support.waiting import PATIENCE_SECONDS, until

RUN = "0123456789abcdef" * 2
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = migrated_database(tmp_path)
    yield found
    found.engine.dispose()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture
def spans(collector: Collector) -> Iterator[Spans]:
    found = open_spans("reprofarm-test")
    yield found
    found.close()


def span(place: Place, parent: Place | None = None, error: str | None = None) -> PastSpan:
    return PastSpan(place, parent, AT, AT + timedelta(seconds=2), {"attempt": 1, "worker": None}, error=error)


def test_without_a_collector_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert not open_spans("reprofarm-test").enabled
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not open_spans("reprofarm-test").enabled


def test_a_span_has_the_ids_that_follow_from_what_it_is_of(spans: Spans, collector: Collector) -> None:
    root = Place.of_reproduction(RUN)
    spans.tell(span(Place.of_attempt(RUN, 1), root, error="lost"))
    # By another process, and later.
    other = open_spans("reprofarm-other")
    other.tell(span(root))
    other.tell(span(root))
    for each in (spans, other):
        each.flush()
    other.close()
    told = collector.trace(RUN)
    assert told["attempt"].parent_id == told["reproduction"].span_id == f"{root.span_id:016x}"
    assert {each.span_id for each in collector.spans if each.name == "reproduction"} == {f"{root.span_id:016x}"}
    assert (told["attempt"].failed, told["reproduction"].failed) == (True, False)
    assert told["attempt"].end - told["attempt"].start == 2 * 10**9
    assert told["attempt"].attributes == {"reprofarm.attempt": 1}


def test_what_is_of_nothing_with_a_trace_id_is_not_told(spans: Spans, collector: Collector) -> None:
    for made_up in ("r1", "0" * 32, "G" * 32, RUN.upper()):
        spans.tell(span(Place(made_up, "run", 1), Place.of_attempt(made_up, 1)))
    spans.tell(span(Place.of_claim(RUN)))
    spans.flush()
    assert [each.trace_id for each in collector.spans] == [RUN]


def test_a_collector_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, released, answered = threading.Event(), threading.Event(), threading.Event()

    class Hangs(QuietHandler):
        def do_POST(self) -> None:
            self.body()
            asked.set()
            released.wait(PATIENCE_SECONDS)
            answered.set()
            self.answer(200)

    with answered_by(Hangs) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(2 * PATIENCE_SECONDS))
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        spans = open_spans("reprofarm-test")
        spans.tell(span(Place.of_claim(RUN)))
        until(asked.is_set)
        spans.tell(span(Place.of_reproduction(RUN)))
        assert not answered.is_set()
        released.set()
        spans.close()


def test_only_what_is_committed_is_told(database: Database, spans: Spans, collector: Collector) -> None:
    rows = Rows(database)
    claim_id = rows.running()
    run = rows.run_of(claim_id)
    trace_changes(database, spans)

    def end(*, then: BaseException | None) -> None:
        with database.transaction() as session:
            reproduction = session.get_one(Reproduction, run)
            attempt = session.get_one(Attempt, (run, 2))
            attempt.started_at, attempt.ended_at, attempt.outcome = AT, AT + timedelta(hours=1), "completed"
            move_reproduction(session, reproduction, ReproductionState.COMPLETED, "all samples scored")
            session.flush()
            if then is not None:
                raise then

    with pytest.raises(KeyboardInterrupt):
        end(then=KeyboardInterrupt())
    spans.flush()
    assert collector.spans == []
    end(then=None)
    spans.flush()
    assert set(collector.trace(run)) == {"reproduction", "attempt", "wait", "queue"}
    assert collector.trace(run)["reproduction"].links == [claim_id]


def test_an_attempt_that_failed_is_told_as_soon_as_it_ended(database: Database) -> None:
    rows = Rows(database)
    run = rows.reproduction(attempt=2)
    first, second = BEGINNING + timedelta(hours=1), BEGINNING + timedelta(hours=2)
    rows.attempt(run, 1, outcome="engine_failed", ended_at=first)
    rows.attempt(run, 2, outcome="handed_back", ended_at=second, started_at=first, worker="w1@host")
    with database.reading() as session:
        told = {each.place.stage: each for each in spans_of(session, "reproduction", run, "queued")}
    assert set(told) == {"queue", "attempt", "wait"}
    assert told["queue"].start == first
    assert told["attempt"].place.number == 2
    assert told["attempt"].error is None, "nobody's failure"
    with database.transaction() as session:
        session.get_one(Attempt, (run, 2)).outcome = "lost"
    with database.reading() as session:
        told = {each.place.stage: each for each in spans_of(session, "reproduction", run, "queued")}
    assert told["attempt"].error == "lost"


def test_a_claim_without_a_run_has_a_trace_too(database: Database) -> None:
    rows = Rows(database)
    claim_id = rows.claim(state="decided")
    with database.transaction() as session:
        session.get_one(Claim, claim_id).since = BEGINNING + timedelta(hours=3)
        add_event(session, "scheduler", "claim", claim_id, "decided", "unsupported")
    with database.reading() as session:
        root, plan = spans_of(session, "claim", claim_id, "decided")
    assert (root.place, root.links) == (Place.of_claim(claim_id), ())
    assert (plan.parent, plan.end) == (root.place, root.end)


def test_other_changes_end_nothing(database: Database) -> None:
    rows = Rows(database)
    claim_id = rows.running()
    with database.reading() as session:
        for subject, what in (
            ("claim", "planned"),
            ("claim", "badge"),
            ("worker", "lost"),
            ("reproduction", "running"),
        ):
            assert list(spans_of(session, subject, claim_id, what)) == []
