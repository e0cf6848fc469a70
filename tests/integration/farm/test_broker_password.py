"""What somebody can do who has a worker's environment, all of the farm's code and the broker's password: no badge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import select

from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.app import app
from scheduler.badges.signing import Signer
from scheduler.control_worker import own_messages, process, regular, worker_messages
from scheduler.database.tables import Badge, Claim, VerdictRow
from scheduler.dispatch.fetch_ahead_hints import HINT
from scheduler.farm import Farm
from scheduler.messaging import broker
from scheduler.messaging.broker import queued_ids
from scheduler.requests.intervening import DROP
from scheduler.requests.requesting import LOOK_AT_WANTED
from scheduler.schedule import COMMENTS, DISPATCH, PLAN, PUBLISH, REAP, REVERIFY, SCAN, SIGN, TELL, TIDY
from scheduler.settings import Settings
from scheduler.state_machine import ClaimState
from scheduler.watch import announcements
from specs.judging.verdict import Outcome
from specs.measurement import Evidence
from specs.messages import ATTEMPTS_ALIVE, REPORT, WORKER_ALIVE, AttemptOutcome, AttemptRef, ModelRef, Report, TaskRef
from tests.support.databases import Databases
from tests.support.rows import Rows, comparison, measurement
from tests.support.scheduler import migrated_database

PERIODIC = {SCAN, PLAN, DISPATCH, REAP, SIGN, PUBLISH, TELL, REVERIFY, COMMENTS, TIDY}
WITH_A_BODY = {ATTEMPTS_ALIVE, REPORT, WORKER_ALIVE, DROP, LOOK_AT_WANTED, HINT, announcements.LOOK_AT_REPO}

BODIES: tuple[Any, ...] = (
    *(None, [], {}, "x", 1, {"claim_id": None}, {"claim_id": "x" * 10_000}, {"claim_id": ["a"]}, {"claim_id": "a\0b"}),
    {"reproduction_id": "x", "attempt": "many", "batch_id": "b", "worker": "w"},
    {"reproduction_id": "x" * 10_000, "attempt": -1, "batch_id": "", "worker": "\x1b[2J"},
    {"version": 1, "worker": "w", "progress": [{"ref": {"reproduction_id": "x", "attempt": 1}, "stage": "running"}]},
)


@pytest.fixture
def rows(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    """A farm that waits for work: its control worker's tasks are called as messages call them."""
    settings = Settings(
        database_url=databases.url(tmp_path),
        # Nothing listens there: what a task would send is refused, as with a broker that is away.
        broker_url="memory://",
        hub_endpoint="http://127.0.0.1:9",
        evidence_url=f"file://{tmp_path / 'evidence'}",
        signing_key=tmp_path / "keys" / "signing.pem",
        retired_keys=tmp_path / "keys" / "retired",
    )
    Signer.create(settings.signing_key)
    farm = Farm(settings)
    monkeypatch.setattr(process, "farm", lambda: farm)
    # Else it would be the farm of the test before for which badges are looked for.
    regular._missing_badges.cache_clear()
    for told in (own_messages, worker_messages):
        monkeypatch.setattr(told, "tell_to_drop", lambda *_: None)
    monkeypatch.setattr(broker, "send", lambda *_, **__: None)
    yield Rows(migrated_database(tmp_path, databases))
    farm.database.engine.dispose()


def call(task: str, *body: object) -> None:
    app.tasks[task](*body)


def test_these_are_all_tasks_that_the_control_queue_takes() -> None:
    """Whoever adds one says here, and in docs/security.md, what somebody with the broker's password can do with it."""
    # Celery gives an app the tasks of others that were imported: only the control plane's are its own.
    own = {name for name, task in app.tasks.items() if task.__module__.startswith("scheduler.")}
    assert own == PERIODIC | WITH_A_BODY


def test_no_message_to_the_control_queue_makes_a_badge(rows: Rows) -> None:
    claims = [
        rows.claim(),
        rows.planned(),
        rows.running(),
        rows.decided(Outcome.MISMATCH, found=comparison(0.9)),
        rows.decided(Outcome.FAILED),
        rows.claim(state=ClaimState.WITHDRAWN, live=False),
    ]
    for claim_id in claims:
        call(DROP, {"reproduction_id": claim_id, "attempt": 1, "batch_id": "b", "worker": "w"})
    for task in sorted(WITH_A_BODY):
        for body in BODIES:
            call(task, body)
    call(SIGN)
    with rows.database.reading() as session:
        assert session.scalars(select(Badge)).all() == []
        verdicts = {row.claim_id: row.outcome for row in session.scalars(select(VerdictRow))}
    assert sorted(verdicts.values()) == ["failed", "mismatch"]


def test_a_made_up_report_of_a_run_that_somebody_else_has_makes_no_verdict(rows: Rows) -> None:
    claim_id = rows.running()
    with rows.database.reading() as session:
        run = session.get_one(Claim, claim_id).reproduction
        assert run is not None
        forged = Report(
            ref=AttemptRef(reproduction_id=run.reproduction_id, attempt=run.attempt),
            worker="thief@elsewhere",
            model=ModelRef(model_id=run.model_id, revision=run.model_revision),
            task=TaskRef(
                dataset_id=run.dataset_id,
                revision=run.dataset_revision,
                task_id=run.task_id,
                spec_sha256=run.spec_sha256,
            ),
            outcome=AttemptOutcome.COMPLETED,
            detail="",
            measurement=measurement(),
            evidence=Evidence(sha256="f" * 64, size_bytes=1),
        )
    call(REPORT, forged.encode())
    with rows.database.reading() as session:
        assert session.scalars(select(VerdictRow)).all() == []
        assert session.scalars(select(Badge)).all() == []


def test_rubbish_in_a_queue_does_not_blind_the_reaper(tmp_path: Path) -> None:
    processes = Processes(tmp_path, tmp_path / "logs")
    try:
        url = start_redis(processes, tmp_path / "redis")
        with Redis.from_url(url) as redis:
            redis.rpush("pool.cpu", b"\xff", b"[]", b"{}", b"[" * 100_000, json.dumps({"headers": {"id": "a"}}))
        assert queued_ids(Celery(broker=url), "pool.cpu") == {"a"}
    finally:
        processes.stop()
