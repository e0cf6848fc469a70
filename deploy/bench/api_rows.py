"""A farm's database with many claims: of ten, six are decided, two planned, one blocked and one rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, text

from scheduler.database.session import Database
from scheduler.database.tables import (
    Attempt,
    Benchmark,
    Claim,
    Event,
    Model,
    Reproduction,
    Table,
    VerdictRow,
)
from scheduler.machine import ClaimState, ReproductionState
from specs.verdict import Outcome

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
MODELS = 2000
BENCHMARKS = 20
AT_ONCE = 5000

STATES = (*[ClaimState.DECIDED] * 6, ClaimState.PLANNED, ClaimState.PLANNED, ClaimState.BLOCKED, ClaimState.REJECTED)
OUTCOMES = (Outcome.VERIFIED, Outcome.MISMATCH, Outcome.VERIFIED, Outcome.INCONCLUSIVE)


def digest(kind: str, number: int) -> str:
    """The same id each time."""
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def claim_id(number: int) -> str:
    """Of the claim with that number."""
    return digest("claim", number)[:32]


def fill(database: Database, claims: int) -> None:
    """Write the rows, in bulk, and have the database look at how they are spread."""
    _write(database, Model, MODELS, lambda number: {"model_id": f"m/{number}", "revision": digest("m", number)[:40]})
    _write(database, Benchmark, BENCHMARKS, lambda number: {"dataset_id": f"b/{number}", "seen_at": BEGINNING})
    _write(database, Reproduction, claims, _reproduction, _runs)
    _write(database, Attempt, claims, _attempt, _runs)
    _write(database, Claim, claims, _claim)
    _write(database, VerdictRow, claims, _verdict, lambda number: _state(number) is ClaimState.DECIDED)
    _write(database, Event, claims, _event)
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
        with database.transaction() as session:
            session.execute(insert(table), part)


def _state(number: int) -> ClaimState:
    return STATES[number % len(STATES)]


def _runs(number: int) -> bool:
    return _state(number) in (ClaimState.DECIDED, ClaimState.PLANNED)


def _at(number: int) -> datetime:
    return BEGINNING + timedelta(seconds=number)


def _reproduction(number: int) -> dict[str, Any]:
    done = _state(number) is ClaimState.DECIDED
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
        "settings": {},
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


def _claim(number: int) -> dict[str, Any]:
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
        "state": _state(number),
        "reason": "found in .eval_results/results.yaml on main",
        "since": _at(number),
        "created_at": _at(number),
        "rules": {"scale": "percent", "claimed": 0.412, "tolerance": 0.02},
        "reproduction_id": digest("run", number)[:32] if _runs(number) else None,
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


def _event(number: int) -> dict[str, Any]:
    return {
        "at": _at(number),
        "actor": "scheduler",
        "subject": "claim",
        "subject_id": claim_id(number),
        "what": _state(number),
        "why": "because",
    }
