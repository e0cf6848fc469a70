"""A farm's database with many claims: of ten, six are decided, two planned, one blocked and one rejected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg
from sqlalchemy import Column, insert, text

from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.run_settings import RunSettings
from scheduler.database.session import Database
from scheduler.database.tables import (
    Attempt,
    Badge,
    Benchmark,
    Claim,
    Event,
    Model,
    Reproduction,
    Table,
    VerdictRow,
)
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
MODELS = 2000
BENCHMARKS = 20
AT_ONCE = 5000

STATES = (*[ClaimState.DECIDED] * 6, ClaimState.PLANNED, ClaimState.PLANNED, ClaimState.BLOCKED, ClaimState.REJECTED)
OUTCOMES = (Outcome.VERIFIED, Outcome.MISMATCH, Outcome.VERIFIED, Outcome.INCONCLUSIVE)

RUN_SETTINGS = RunSettings(
    engine=EngineRules(),
    gpus=16,
    generation=GenerationSettings(),
    epochs=None,
    sample_limit=None,
    mode="sequential",
    alpha=0.001,
    minimum_samples=20,
    maximum_failed_fraction=0.02,
    history=True,
    allow_self_judge=True,
    judges={},
)
SETTINGS = RUN_SETTINGS.model_dump(mode="json")

RULES = JudgingRules(
    scale="percent",
    scale_source="policy",
    claimed=0.412,
    tolerance=0.02,
    tolerance_source="policy",
    spread=None,
    policy_sha256="0" * 64,
).model_dump(mode="json")


def digest(kind: str, number: int) -> str:
    """The same id each time."""
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def claim_id(number: int) -> str:
    """Of the claim with that number."""
    return digest("claim", number)[:32]


def fill(database: Database, claims: int, queue: int | None = None) -> None:
    """Write the rows, in bulk, and have PostgreSQL look at how they are spread, as it does by itself in time.

    With a `queue`, no more of the claims than that are planned: the others that would be are decided.
    """

    def state(number: int) -> ClaimState:
        found = STATES[number % len(STATES)]
        in_queue = queue is None or number * STATES.count(ClaimState.PLANNED) // len(STATES) < queue
        return ClaimState.DECIDED if found is ClaimState.PLANNED and not in_queue else found

    def runs(number: int) -> bool:
        return state(number) in (ClaimState.DECIDED, ClaimState.PLANNED)

    def is_decided(number: int) -> bool:
        return state(number) is ClaimState.DECIDED

    def is_verified(number: int) -> bool:
        return is_decided(number) and OUTCOMES[number % len(OUTCOMES)] is Outcome.VERIFIED

    _write(database, Model, MODELS, lambda number: {"model_id": f"m/{number}", "revision": digest("m", number)[:40]})
    _write(database, Benchmark, BENCHMARKS, lambda number: {"dataset_id": f"b/{number}", "seen_at": BEGINNING})
    _write(database, Reproduction, claims, lambda number: _reproduction(number, is_decided(number)), runs)
    _write(database, Attempt, claims, _attempt, runs)
    _write(database, Claim, claims, lambda number: _claim(number, state(number), runs(number)))
    _write(database, VerdictRow, claims, _verdict, is_decided)
    _write(database, Badge, claims, _badge, is_verified)
    _write(database, Event, claims, lambda number: _event(number, state(number)))
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _write(
    database: Database,
    table: type[Table],
    rows: int,
    row: Callable[[int], dict[str, Any]],
    wanted: Callable[[int], bool] = lambda _number: True,
) -> None:
    for start in range(0, rows, AT_ONCE):
        part = [row(number) for number in range(start, min(start + AT_ONCE, rows)) if wanted(number)]
        if database.is_sqlite:
            with database.transaction() as session:
                session.execute(insert(table), part)
        elif part:
            _copy(database, table, part)


def _copy(database: Database, table: type[Table], rows: list[dict[str, Any]]) -> None:
    """As PostgreSQL takes many rows soonest; several times as fast as inserting them."""
    columns: list[Any] = [each for each in table.__table__.columns if each.name in rows[0] or each.default is not None]
    names = ", ".join(f'"{column.name}"' for column in columns)
    connection = database.engine.raw_connection()
    driver: psycopg.Connection[Any] = connection.driver_connection  # type: ignore[assignment]  # it is psycopg's
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.__tablename__} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([_plain(row[each.name] if each.name in row else _default(each)) for each in columns])
        driver.commit()
    finally:
        connection.close()


def _default(column: Column[Any]) -> Any:
    default: Any = column.default
    return default.arg(None) if default.is_callable else default.arg


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value) if isinstance(value, StrEnum) else value


def _at(number: int) -> datetime:
    return BEGINNING + timedelta(seconds=number)


def _reproduction(number: int, done: bool) -> dict[str, Any]:
    return {
        "reproduction_id": digest("run", number)[:32],
        "key": digest("key", number),
        "model_id": f"m/{number % MODELS}",
        "model_revision": digest("m", number)[:40],
        "weights_sha256": digest("w", number % MODELS),
        "weights_bytes": 10**9,
        "dataset_id": f"b/{number % BENCHMARKS}",
        "dataset_revision": digest("b", number % BENCHMARKS)[:40],
        "task_id": "default",
        "spec_sha256": digest("spec", number % BENCHMARKS),
        "settings": SETTINGS,
        "seed": number,
        "pool": "large",
        "priority": 20,
        "state": ReproductionState.COMPLETED if done else ReproductionState.QUEUED,
        "since": _at(number),
        "created_at": _at(number),
        "attempt": 1,
        "evidence_sha256": digest("log", number) if done else None,
    }


def _attempt(number: int) -> dict[str, Any]:
    return {
        "reproduction_id": digest("run", number)[:32],
        "number": 1,
        "batch_id": digest("batch", number)[:32],
        "dispatched_at": _at(number),
        "samples_done": 200,
        "samples_total": 300,
        "score": 0.415,
        "stage": "running",
    }


def _claim(number: int, state: ClaimState, runs: bool) -> dict[str, Any]:
    return {
        "claim_id": claim_id(number),
        "slot": digest("slot", number),
        "model_id": f"m/{number % MODELS}",
        "ref": "main",
        "path": ".eval_results/results.yaml",
        "entry": 0,
        "commit": digest("commit", number)[:40],
        "submitter": f"user{number % 500}",
        "dataset_id": f"b/{number % BENCHMARKS}",
        "task_id": "default",
        "value": 41.2,
        "notes": "no tools",
        "warnings": [],
        "state": state,
        "reason": "found in .eval_results/results.yaml on main",
        "since": _at(number),
        "created_at": _at(number),
        "rules": RULES,
        "reproduction_id": digest("run", number)[:32] if runs else None,
    }


def _verdict(number: int) -> dict[str, Any]:
    outcome = OUTCOMES[number % len(OUTCOMES)]
    comparison = {
        "claimed": 0.412,
        "mode": "sequential",
        "reproduced": 0.415,
        "standard_error": 0.0348,
        "tolerance": 0.0557,
        "alpha": 0.001,
        "samples_used": 200,
        "population": 300,
        "interval": {"low": 0.36, "high": 0.46},
        "truncated": 3,
        "unparsed": 0,
        "failed": 1,
    }
    return {
        "claim_id": claim_id(number),
        "outcome": outcome,
        "verdict": {"outcome": outcome, "reason": "reproduced within its tolerance", "comparison": comparison},
        "reproduction_id": digest("run", number)[:32],
        "decided_at": _at(number),
    }


def _badge(number: int) -> dict[str, Any]:
    return {
        "claim_id": claim_id(number),
        "badge_id": digest("badge", number)[:32],
        "token": "none",
        "key_id": "none",
        "signed_at": _at(number),
    }


def _event(number: int, state: ClaimState) -> dict[str, Any]:
    return {
        "at": _at(number),
        "actor": "scheduler",
        "subject": "claim",
        "subject_id": claim_id(number),
        "what": state,
        "why": "because",
    }
