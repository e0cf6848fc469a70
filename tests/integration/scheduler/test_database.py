"""Tables, migrations and transactions on a real database."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from deploy.bench.postgres import PostgresServer
from scheduler.database import migrating
from scheduler.database import postgres as of_postgres
from scheduler.database.expiring_locks import HELD_AT_ONCE, held
from scheduler.database.readiness import trouble_with_database
from scheduler.database.session import MIGRATIONS, Database
from scheduler.database.tables import Claim, Event, Marker, Model, NoisePair, Publication, Reproduction, Table, now
from scheduler.dispatch.setting_aside import SET_ASIDE
from scheduler.record import add_event
from scheduler.settings import CLOCKS_DIFFER_SECONDS
from scheduler.state_machine import ReproductionState
from specs.errors import PolicyError
from tests.support.databases import Databases
from tests.support.rows import Rows, measurement
from tests.support.scheduler import migrated_database
from tests.support.waiting import PATIENCE_SECONDS, until


def claim(slot: str, *, live: bool = True) -> Claim:
    return Claim(
        slot=slot, live=live, model_id="tiny/model", ref="main", path=".eval_results/a.yaml", entry=0, commit="c" * 40
    )


def counted(database: Database) -> dict[str, int]:
    """Rows by table."""
    with database.engine.connect() as connection:
        return {
            name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()  # noqa: S608 - our own names
            for name in inspect(connection).get_table_names()
        }


def test_the_migrations_make_exactly_the_tables(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_the_migrations_can_be_taken_back(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    database.downgrade("base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    database.upgrade()
    assert "claim" in inspect(database.engine).get_table_names()


def test_a_farm_with_rows_keeps_them_through_every_migration_back_and_forth(
    tmp_path: Path, databases: Databases
) -> None:
    database = migrated_database(tmp_path, databases)
    rows = Rows(database)
    rows.benchmark()
    rows.planned()
    rows.publication(rows.verified())
    before = counted(database)
    # The last goes through all of them, each way.
    for revision in ("0014", "0007", "0001"):
        database.downgrade(revision)
        database.upgrade()
        # Which threads the farm wrote in, 0012 enters anew.
        assert counted(database) | {"thread": 0} == before | {"thread": 0}, revision


def test_several_who_migrate_at_once_follow_one_another(tmp_path: Path, databases: Databases) -> None:
    url = databases.url(tmp_path)
    code = f"from scheduler.database.session import Database; Database({url!r}).upgrade()"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in started] == ["", ""]


def test_each_migration_is_a_transaction_and_all_are_one_where_nobody_can_work_meanwhile(
    tmp_path: Path, databases: Databases
) -> None:
    database = Database(databases.url(tmp_path))
    ended: list[object] = []
    event.listen(database.engine, "commit", ended.append)
    database.upgrade()
    assert len(ended) == (1 if database.is_sqlite else len(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())))
    ended.clear()
    database.upgrade()
    assert len(ended) == 1


def test_a_migration_that_dies_half_way_is_taken_up_again(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = migrated_database(tmp_path, databases)
    database.downgrade("0016")
    monkeypatch.setattr(Operations, "create_index", raises)
    with pytest.raises(RuntimeError, match="died"):
        database.upgrade()
    monkeypatch.undo()
    database.upgrade()
    assert trouble_with_database(database) is None


def raises(*_told: object, **_named: object) -> None:
    raise RuntimeError("died")


@pytest.mark.parametrize(("first", "second"), [("claim", "reproduction"), ("attempt", "claim")])
def test_a_migration_gives_way_to_a_farm_that_works_meanwhile(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    database = migrated_database(tmp_path, Databases(postgres))
    database.downgrade("0016")
    gave_way = threading.Event()
    monkeypatch.setattr(migrating, "time", SimpleNamespace(sleep=lambda _: gave_way.set()))
    read = "SELECT count(*) FROM {}"
    with ThreadPoolExecutor() as pool:
        with database.engine.connect() as pod:
            pod.execute(text(read.format(first)))
            migrated = pool.submit(database.upgrade)
            until(lambda: is_waited_for(database, first))
            # Its migration has more tables than that one, and must not keep them.
            pod.execute(text(read.format(second)))
            assert gave_way.wait(PATIENCE_SECONDS)
            assert not migrated.done()
        migrated.result(timeout=PATIENCE_SECONDS)
    assert trouble_with_database(database) is None


def test_a_migration_that_others_never_let_in_changes_nothing_and_fails(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = migrated_database(tmp_path, Databases(postgres))
    database.downgrade("0017")
    monkeypatch.setattr(migrating, "ATTEMPTS", 2)
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0.0)
    with database.engine.connect() as pod:
        pod.execute(text("SELECT count(*) FROM attempt"))
        with pytest.raises(OperationalError, match="lock timeout"):
            database.upgrade()
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_heads() == ("0017",)
    database.upgrade()
    database.upgrade("0016")
    assert trouble_with_database(database) is None, "what it has passed already is no error"


def is_waited_for(database: Database, table: str) -> bool:
    """Whether somebody waits to have a table alone."""
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass(:table)"
    with database.looking() as session:
        return bool(session.execute(text(asked), {"table": table}).scalar_one())


def test_a_database_of_a_later_version_is_left_as_it_is_and_that_is_said(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = counted(database)
    for migrate, revision in ((database.upgrade, "head"), (database.downgrade, "base")):
        with pytest.raises(PolicyError, match=r"'9999'\. A database that a later version migrated needs that version"):
            migrate(revision)
    assert counted(database) == before
    trouble = trouble_with_database(database)
    assert trouble is not None
    assert trouble.startswith("is at a later version's migration 9999, this version needs ")


def test_tables_of_a_later_version_will_do_for_who_only_works_with_them(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    for revision, will_do in (("9999", True), ("0000", False), ("1975ea83b712", False), ("999999999999", False)):
        with database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :at"), {"at": revision})
        assert (trouble_with_database(database, newer_is_fine=True) is None) == will_do, revision


def test_a_database_of_another_program_that_numbers_its_migrations_will_not_do(
    tmp_path: Path, databases: Databases
) -> None:
    database = Database(databases.url(tmp_path))
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    assert trouble_with_database(database, newer_is_fine=True) is not None


def test_what_runs_took_is_found_in_their_measurements(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    rows, whole = Rows(database), measurement().model_dump(mode="json")
    rows.reproduction()
    for changed in ({}, {"engine_share": 0.25}, {"resumed": {"samples": 2}}, {"ended_at": whole["started_at"]}):
        rows.reproduction(state=ReproductionState.COMPLETED, measurement={**whole, **changed})
    took = select(Reproduction.reproduction_id, Reproduction.population, Reproduction.answers)
    seconds = select(Reproduction.reproduction_id, Reproduction.engine_seconds)
    with database.reading() as session:
        before, lasted = session.execute(took).all(), dict(session.execute(seconds).all())
    assert sorted(map(str, lasted.values())) == ["0.0", "300.0", "75.0", "None", "None"]
    database.downgrade("0016")
    database.upgrade()
    with database.reading() as session:
        assert session.execute(took).all() == before
        found = dict(session.execute(seconds).all())
    assert found == {name: pytest.approx(value, abs=0.001) for name, value in lasted.items()}


def test_pairs_of_the_noise_ledger_get_the_scores_of_their_runs(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    rows, whole = Rows(database), measurement().model_dump(mode="json")
    runs = [
        rows.reproduction(state=ReproductionState.COMPLETED, measurement={**whole, "score": score})
        for score in (0.25, 0.75)
    ]
    rows.noise_pair(reproduction_id=runs[0], earlier_id=runs[1], mean_score=None)
    database.downgrade("0018")
    database.upgrade()
    with database.reading() as session:
        assert session.scalars(select(NoisePair.mean_score)).all() == [0.5]


def test_what_waits_for_the_operator_is_told_by_what_earlier_versions_said(
    tmp_path: Path, databases: Databases
) -> None:
    database = migrated_database(tmp_path, databases)
    rows = Rows(database)
    waits = rows.reproduction(reason=f"{SET_ASIDE}it cannot be read")
    rows.reproduction(reason="planned for cpu")
    database.downgrade("0017")
    database.upgrade()
    with database.reading() as session:
        aside = select(Reproduction.reproduction_id).where(Reproduction.set_aside)
        assert session.scalars(aside).all() == [waits]


def test_what_anothers_proof_kept_out_is_told_by_what_earlier_versions_said(
    tmp_path: Path, databases: Databases
) -> None:
    database = migrated_database(tmp_path, databases)
    rows = Rows(database)
    states = {}
    for model_id, state, reason in (
        ("tiny/kept", "kept_out", "the entry carries somebody else's proof, which is not replaced"),
        ("tiny/carried", "published", "the entry carries the proof"),
        ("tiny/gone", "withdrawn", "the entry carries somebody else's proof by now, which is not replaced"),
    ):
        claim_id = rows.verified(model_id)
        rows.publication(claim_id, state=state, reason=reason)
        states[claim_id] = state

    def found() -> dict[str, str]:
        with database.reading() as session:
            return {row.claim_id: row.state for row in session.scalars(select(Publication))}

    database.downgrade("0027")
    assert "kept_out" not in found().values()
    database.upgrade()
    assert found() == states


def test_a_slot_has_one_living_claim_and_any_number_of_withdrawn_ones(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    with database.transaction() as session:
        session.add(Model(model_id="tiny/model"))
        session.flush()
        session.add_all([claim("s", live=False), claim("s", live=False), claim("s")])

    def second() -> None:
        with database.transaction() as session:
            session.add(claim("s"))

    with pytest.raises(IntegrityError):
        second()


def test_times_come_back_in_utc_and_times_without_a_zone_are_refused(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    there = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    with database.transaction() as session:
        session.add(Model(model_id="tiny/model", looked_at=there))
    with database.reading() as session:
        found = session.get_one(Model, "tiny/model").looked_at
    assert found == there
    assert found is not None
    assert found.tzinfo is UTC

    def naive() -> None:
        with database.transaction() as session:
            session.add(Model(model_id="other/model", looked_at=datetime(2026, 1, 2)))  # noqa: DTZ001 - the point

    with pytest.raises(StatementError, match="without a zone"):
        naive()


def test_the_record_has_the_lines_of_a_transaction_in_their_order_or_none_of_them(
    tmp_path: Path, databases: Databases
) -> None:
    database = migrated_database(tmp_path, databases)
    with database.transaction() as session:
        for number in range(30):
            add_event(session, "scheduler", "claim", "one", f"step{number}", "because")
    with suppress(RuntimeError), database.transaction() as session:
        add_event(session, "scheduler", "claim", "one", "never", "it came to nothing")
        raise RuntimeError
    with database.transaction() as session:
        add_event(session, "scheduler", "claim", "one", "last", "because")
    with database.reading() as session:
        told = session.scalars(select(Event.what).order_by(Event.event_id)).all()
    assert told == [*(f"step{number}" for number in range(30)), "last"]


def test_a_marker_is_held_by_one_and_runs_out_by_itself(tmp_path: Path, databases: Databases) -> None:
    database: Database = migrated_database(tmp_path, databases)
    with held(database, "scan", timedelta(hours=1)) as first:
        with held(database, "scan", timedelta(hours=1)) as second:
            assert first
            assert not second
        with held(database, "other", timedelta(hours=1)) as third:
            assert third
    with held(database, "scan", timedelta(seconds=-1)) as again, held(database, "scan", timedelta(hours=1)) as taken:
        assert again
        assert taken
    with held(database, "scan", timedelta(hours=1)) as free:
        assert free


def test_a_marker_stays_held_while_its_holder_works_however_short_it_is_held_at_once(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Database = migrated_database(tmp_path, databases)
    # By a clock of its own: a busy machine may stop this process for longer than the marker is held at once.
    times = [now()]
    monkeypatch.setattr("scheduler.database.expiring_locks.now", lambda: times[-1])
    short = timedelta(seconds=0.3)
    with held(database, "scan", timedelta(hours=1), short):
        first = held_until(database)
        for _ in range(4):
            times.append(times[-1] + short / 2)
            until(lambda: held_until(database) == times[-1] + short)
            with held(database, "scan", timedelta(hours=1), short) as second:
                assert not second
        assert held_until(database) > first + short
    assert held_until(database) < first, "it is free again"


def test_a_marker_stays_held_also_by_a_clock_that_is_ahead(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Database = migrated_database(tmp_path, databases)
    with held(database, "scan", timedelta(hours=1)):
        # Just before it is renewed, on a machine that is a little busy.
        ahead = HELD_AT_ONCE / 3 + timedelta(seconds=CLOCKS_DIFFER_SECONDS + 2)
        monkeypatch.setattr("scheduler.database.expiring_locks.now", lambda: now() + ahead)
        with held(database, "scan", timedelta(hours=1)) as second:
            assert not second


def test_a_marker_is_not_renewed_beyond_what_its_work_may_take(tmp_path: Path, databases: Databases) -> None:
    database: Database = migrated_database(tmp_path, databases)
    with held(database, "scan", timedelta(seconds=0.5), timedelta(seconds=0.2)):

        def another_has_it() -> bool:
            with held(database, "scan", timedelta(hours=1)) as taken:
                return bool(taken)

        until(another_has_it)


def test_who_lost_its_marker_to_another_knows(tmp_path: Path, databases: Databases) -> None:
    database = migrated_database(tmp_path, databases)
    with held(database, "scan", timedelta(hours=1)) as first:
        assert first.lasts()
        with held(database, "scan", timedelta(hours=1)) as second:
            assert not second.lasts()
        # As if it had been frozen, and somebody else had taken it since.
        with database.transaction() as session:
            session.get_one(Marker, "scan").at = now() + timedelta(hours=2)
        assert not first.set(now() + timedelta(hours=1))
        assert not first.lasts()
    with held(database, "scan", timedelta(hours=1)) as other:
        assert not other, "it is left to whoever has it now"


def held_until(database: Database) -> datetime:
    with database.reading() as session:
        return session.get_one(Marker, "scan").at


def test_a_connection_that_rested_is_asked_first_and_one_that_was_used_just_now_is_not(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = migrated_database(tmp_path, Databases(postgres))
    asked: list[object] = []
    ping = database.engine.dialect.do_ping

    def noted(connection: Any) -> bool:
        asked.append(connection)
        return ping(connection)

    monkeypatch.setattr(database.engine.dialect, "do_ping", noted)
    monkeypatch.setattr(of_postgres, "RESTED_SECONDS", 1000.0)
    for _ in range(3):
        with database.looking() as session:
            session.execute(text("SELECT 1"))
    assert not asked
    monkeypatch.setattr(of_postgres, "RESTED_SECONDS", -1.0)
    with database.looking() as session:
        session.execute(text("SELECT 1"))
    assert len(asked) == 1


def test_connections_that_the_server_closed_while_they_rested_are_replaced(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_postgres, "RESTED_SECONDS", -1.0)
    database = migrated_database(tmp_path, Databases(postgres))
    with database.looking() as one, database.looking() as other:
        for session in (one, other):
            session.execute(text("SELECT 1"))
    closes = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> :own"
    with database.looking() as session:
        own = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert session.execute(text(closes), {"own": own}).all()
    for _ in range(3):
        with database.looking() as one, database.looking() as other:
            assert {session.execute(text("SELECT 1")).scalar_one() for session in (one, other)} == {1}


def test_a_database_without_an_encoding_keeps_text_as_others_do(postgres: PostgresServer) -> None:
    # What `initdb` makes where no locale is set.
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE plain TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    database = Database(postgres.url("plain"))
    database.upgrade()
    with database.transaction() as session:
        add_event(session, "scheduler", "claim", "c", "blocked", "whose move it is: Zoë's")
    with database.reading() as session:
        assert session.scalars(select(Event.why)).all() == ["whose move it is: Zoë's"]
