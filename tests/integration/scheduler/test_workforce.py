"""Workers as the control plane knows them: there, quarantined, lost, back, gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import select, update

from scheduler.collect import workforce
from scheduler.database.session import Database
from scheduler.database.tables import EngineLoad, Event, Worker, now
from scheduler.metrics import collector, old_loads
from specs.errors import MessageError
from specs.messages import WorkerAlive
from specs.policy.rules import Policy
from tests.support.databases import at_once

POLICY = Policy()
WORD: dict[str, Any] = {
    "version": 1,
    "worker": "cpu@host",
    "pool": "cpu",
    "state": "idle",
    "reason": "",
    "hardware": "CPU x, 2 cores",
    "memory": [{"device": "memory", "total_bytes": 2**34, "free_bytes": 2**33}],
    "engine": None,
    "every_seconds": 10.0,
}


def say(database: Database, **other: Any) -> None:
    workforce.take(database, POLICY, WorkerAlive.decode({**WORD, **other}))


def silent(database: Database, seconds: float) -> None:
    """As if that much time had passed since anybody spoke."""
    passed = timedelta(seconds=seconds)
    with database.transaction() as session:
        for row in session.scalars(select(Worker)):
            row.due_at, row.seen_at = row.due_at - passed, row.seen_at - passed


def workers(database: Database) -> dict[str, str]:
    with database.reading() as session:
        return {row.name: row.state for row in session.scalars(select(Worker))}


def record(database: Database) -> list[tuple[str, str]]:
    with database.reading() as session:
        rows = session.scalars(select(Event).where(Event.subject == "worker").order_by(Event.event_id))
        return [(row.what, row.actor) for row in rows]


def test_a_worker_that_goes_on_saying_the_same_is_in_the_record_once(database: Database) -> None:
    for _ in range(3):
        say(database)
    say(database, state="busy")
    assert workers(database) == {"cpu@host": "busy"}
    assert record(database) == [("registered", "worker:cpu@host")]


def test_a_quarantine_and_its_end_are_in_the_record(database: Database) -> None:
    say(database)
    say(database, state="quarantined", reason="its device is not free: in use by pid 7")
    say(database, state="quarantined", reason="its device is not free: in use by pid 8")
    say(database)
    assert [what for what, _ in record(database)] == ["registered", "quarantined", "free"]


def test_a_silent_worker_is_lost_once_and_back_when_it_speaks(database: Database) -> None:
    say(database)
    assert workforce.find_lost(database) == 0
    silent(database, 31)
    assert workforce.find_lost(database) == 1
    assert workforce.find_lost(database) == 0
    assert workers(database) == {"cpu@host": "lost"}
    say(database)
    assert workers(database) == {"cpu@host": "idle"}
    assert record(database) == [
        ("registered", "worker:cpu@host"),
        ("lost", "scheduler"),
        ("returned", "worker:cpu@host"),
    ]


def test_a_worker_that_was_stopping_is_not_lost_but_gone(database: Database) -> None:
    say(database, state="draining", reason="was asked to stop")
    silent(database, 31)
    workforce.find_lost(database)
    assert workers(database) == {}
    assert [what for what, _ in record(database)] == ["registered", "left"]


def test_a_worker_that_was_not_seen_for_a_day_is_forgotten(database: Database) -> None:
    say(database)
    silent(database, 86_500)
    workforce.tidy(database)
    assert workers(database) == {"cpu@host": "idle"}, "one that is not lost yet is kept"
    workforce.find_lost(database)
    workforce.tidy(database)
    assert workers(database) == {}


def test_a_worker_of_a_pool_that_the_policy_does_not_have_is_not_entered(database: Database) -> None:
    say(database, pool="made-up")
    assert workers(database) == {}


def test_made_up_names_fill_no_table(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workforce, "MAX_WORKERS", 3)
    for number in range(9):
        say(database, worker=f"w{number}@host")
    say(database, worker="w1@host", state="busy")
    assert workers(database) == {"w0@host": "idle", "w1@host": "busy", "w2@host": "idle"}


def test_the_longest_name_fits(database: Database) -> None:
    say(database, worker="w" * 200, hardware="h" * 500, state="quarantined", reason="r" * 2000)
    assert workers(database) == {"w" * 200: "quarantined"}


@pytest.mark.parametrize(
    "flaw",
    [
        {"worker": "a\x1b[31m"},
        {"pool": "../x"},
        {"state": "lost"},
        {"every_seconds": 1e9},
        {"every_seconds": float("inf")},
        {"number": -1},
        {"number": 2**53},
        {"hardware": "h" * 501},
        {"memory": [{"device": "m", "total_bytes": -1, "free_bytes": 0}]},
        {"memory": WORD["memory"] * 65},
        {"engine": {"model": "a/b", "revision": "not a commit", "started_at": "2026-01-01T00:00:00Z"}},
        {"unknown": 1},
        {"version": 2},
    ],
)
def test_what_is_no_such_message_is_refused(flaw: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        WorkerAlive.decode({**WORD, **flaw})


def test_two_control_workers_that_hear_of_a_new_worker_at_once_enter_it_once(database: Database) -> None:
    numbers = iter(range(4))

    def words() -> None:
        number = next(numbers)
        say(database, number=number, state="busy" if number == 3 else "idle")

    at_once(words)
    assert workers(database) == {"cpu@host": "busy"}


def test_of_two_words_that_change_places_on_their_way_the_later_counts(database: Database) -> None:
    say(database, number=5)
    say(database, number=7, state="draining", reason="was asked to stop")
    say(database, number=6, state="busy")
    assert workers(database) == {"cpu@host": "draining"}
    say(database, number=7, state="draining", reason="was asked to stop")
    say(database, number=8)
    assert workers(database) == {"cpu@host": "idle"}


def test_a_worker_whose_clock_was_set_back_counts_once_its_earlier_words_are_old(database: Database) -> None:
    say(database, number=7, state="draining", reason="was asked to stop")
    silent(database, 31)
    say(database, number=6)
    say(database, number=7, state="busy")
    assert workers(database) == {"cpu@host": "busy"}


def test_a_worker_that_does_not_number_its_words_is_heard_beside_one_that_did(database: Database) -> None:
    say(database, number=7)
    say(database, state="busy")
    say(database, number=1, state="quarantined", reason="its device is not free")
    assert workers(database) == {"cpu@host": "quarantined"}


def test_metrics_count_workers_by_pool_and_state(database: Database) -> None:
    say(database)
    say(database, worker="b@host", state="quarantined", reason="held")
    with database.transaction() as session:
        session.execute(update(Worker).where(Worker.name == "cpu@host").values(seen_at=now() - timedelta(seconds=50)))
    shown = generate_latest(collector.registry(database, Policy())).decode()
    assert 'reprofarm_workers{pool="cpu",state="idle"} 1.0' in shown
    assert 'reprofarm_workers{pool="cpu",state="quarantined"} 1.0' in shown
    assert 'reprofarm_workers{pool="cpu",state="lost"} 0.0' in shown
    (age,) = [line for line in shown.splitlines() if line.startswith("reprofarm_worker_heartbeat_age_seconds{")]
    assert float(age.rpartition(" ")[2]) >= 50


def test_an_engine_counts_as_loaded_once_however_often_it_is_spoken_of(database: Database) -> None:
    def loaded(at: str) -> dict[str, Any]:
        return {"model": "tiny/model", "revision": "c" * 40, "started_at": at, "tokens_per_second": None}

    for at in ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"):
        say(database, engine=loaded(at))
    say(database)
    say(database, worker="b@host", engine=loaded("2026-03-01T12:00:00Z"))
    loads = collector.registry(database, Policy()).get_sample_value("reprofarm_engine_loads_total", {"pool": "cpu"})
    assert loads == 3


def test_old_loads_are_one_row_and_counted_for_ever_so_that_no_restart_takes_some_away(database: Database) -> None:
    long_ago = now() - timedelta(days=40)
    engine = {"model": "tiny/model", "revision": "c" * 40, "tokens_per_second": None}
    for worker, pool in (("a@host", "cpu"), ("b@host", "cpu"), ("c@host", "gpu-80")):
        with database.transaction() as session:
            for number in range(4):
                at = long_ago + timedelta(minutes=number)
                session.add(EngineLoad(worker=worker, started_at=at, noted_at=at, pool=pool, model_id="tiny/model"))
    # This one is up since, and the worker speaks of it with each heartbeat.
    up = {**engine, "started_at": (long_ago + timedelta(minutes=3)).isoformat()}
    counted = collector.registry(database, Policy())
    for _ in range(3):
        say(database, worker="a@host", engine=up)
        old_loads.put_together(database)
        for registry in (counted, collector.registry(database, Policy())):
            pools = ("cpu", "gpu-80")
            loads = [registry.get_sample_value("reprofarm_engine_loads_total", {"pool": pool}) for pool in pools]
            assert loads == [8, 4]
    with database.reading() as session:
        rows = session.scalars(select(EngineLoad).order_by(EngineLoad.loads)).all()
        assert [(row.worker, row.loads) for row in rows] == [("a@host", 1), ("gpu-80", 4), ("cpu", 7)]


def test_a_flood_of_words_fills_neither_the_record_nor_the_loads(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workforce, "MOST_TOLD", 5)
    monkeypatch.setattr(workforce, "MOST_LOADS", 3)
    for number in range(20):
        at = f"2026-01-01T00:00:{number:02}Z"
        engine = {"model": "a/b", "revision": "c" * 40, "started_at": at, "tokens_per_second": None}
        say(database, state=("idle", "quarantined")[number % 2], reason="so it says", engine=engine)
    with database.reading() as session:
        assert len(session.scalars(select(Event)).all()) == 5
        assert len(session.scalars(select(EngineLoad)).all()) == 3
    assert workers(database) == {"cpu@host": "quarantined"}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"])
def test_a_time_that_no_clock_shows_is_refused(database: Database, at: str) -> None:
    engine = {"model": "a/b", "revision": "c" * 40, "started_at": at, "tokens_per_second": None}
    with pytest.raises(MessageError, match="started_at"):
        say(database, engine=engine)
