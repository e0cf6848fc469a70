"""Connections whose other end may vanish without a word."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.database import postgres
from scheduler.database.session import Database
from scheduler.database.tables import Claim
from scheduler.messaging.broker import _redis
from scheduler.schedule import app as schedule
from specs.processes.connections import KEEPALIVE
from tests.support.databases import Databases
from tests.support.rows import Rows
from tests.support.scheduler import migrated_database
from workers.app import app as worker


class EnoughError(Exception):
    """Nothing more is needed of that connection."""


def options_of(connection: socket.socket) -> dict[int, int]:
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    return {name: connection.getsockopt(socket.IPPROTO_TCP, name) for name in KEEPALIVE}


def database_connection(database: Database) -> dict[int, int]:
    """The options of the connection that libpq opens with what it is told, to somebody who takes it and is silent."""
    found: dict[str, Any] = {}

    def note(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        found.update(parameters)
        raise EnoughError

    event.listen(database.engine, "do_connect", note)
    with pytest.raises(EnoughError):
        database.engine.connect()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = {"host": "127.0.0.1", "port": silent.getsockname()[1]}
        connection = PGconn.connect_start(make_conninfo(**{**found, **address, "context": None}).encode())
        silent.accept()[0].close()
        with socket.socket(fileno=os.dup(connection.socket)) as opened:
            return options_of(opened)


def test_a_connection_to_the_database_notices_that_it_is_gone() -> None:
    database = Database("postgresql+psycopg://farm@database/farm")
    assert database_connection(database) == KEEPALIVE


def test_what_an_operator_says_in_the_address_of_the_database_stands() -> None:
    database = Database("postgresql+psycopg://farm@database/farm?keepalives_idle=77")
    assert database_connection(database) == {**KEEPALIVE, socket.TCP_KEEPIDLE: 77}


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_the_locks_of_a_process_that_is_frozen_are_given_up_and_its_report_is_tried_again(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SERVER, "idle_in_transaction_session_timeout", 200)
    database = migrated_database(tmp_path, databases)
    claim_id = Rows(database).claim()
    locked = select(Claim.claim_id).where(Claim.claim_id == claim_id).with_for_update()

    def freeze() -> None:
        with database.transaction() as frozen:
            frozen.execute(locked)
            with database.transaction() as other:
                # Waits for the lock, and gets it.
                assert other.scalar(locked) == claim_id
            frozen.execute(locked)

    with pytest.raises(DBAPIError) as raised:
        freeze()
    assert isinstance(raised.value, postgres.AWAY)
    database.engine.dispose()


def test_connections_to_the_broker_notice_that_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(tmp_path, tmp_path / "logs")
    try:
        url = start_redis(processes, tmp_path / "redis")
        for app in (schedule, worker):
            with app.connection_for_write(url) as connection:
                channel: Any = connection.default_channel
                pool = channel.client.connection_pool
                assert options_of(pool.get_connection()._sock) == KEEPALIVE
                assert pool.connection_kwargs["socket_timeout"] > 0
        monkeypatch.setattr(schedule.conf, "broker_url", url)
        with _redis(schedule) as redis:
            assert options_of(redis.connection_pool.get_connection()._sock) == KEEPALIVE
    finally:
        processes.stop()


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_report_for_which_no_connection_is_free_is_tried_again(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = migrated_database(tmp_path, databases)
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.05)
    with ExitStack() as held:
        for _ in range(postgres.CONNECTIONS):
            held.enter_context(database.engine.connect())
        with pytest.raises(NoConnectionFree) as none_free:
            database.engine.connect()
    assert isinstance(none_free.value, postgres.AWAY)
    database.engine.dispose()
