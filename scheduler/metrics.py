"""The farm's figures for Prometheus, counted in the database when they are asked for.

Whatever process answers, the figures are the same, and none is lost with a restart. Labels take their values from
fixed lists, and from the pools of the policy, so that nobody outside can make series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Badge, Claim, OutboxRow, Reproduction, VerdictRow, Worker, now
from scheduler.machine import ClaimState, ReproductionState
from scheduler.workforce import STATES
from specs.verdict import Outcome

WAITING = (ReproductionState.QUEUED, ReproductionState.DISPATCHED)


def registry(database: Database) -> CollectorRegistry:
    """The farm's figures and the process's own."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    found.register(FarmCollector(database))
    return found


class FarmCollector(Collector):
    """Counts in the database at every scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: else registering would already count."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures; where the database does not answer, only that it does not."""
        try:
            with self._database.reading() as session:
                families = list(_families(session))
        except SQLAlchemyError:
            families = []
        yield _one("reprofarm_database_up", "Whether the database answered this scrape.", float(bool(families)))
        yield from families


def _families(session: Session) -> Iterator[GaugeMetricFamily]:
    at = now()
    claims = _counted(session, Claim.state)
    yield _by("reprofarm_claims", "Claims by state.", "state", {state: claims.get(state, 0) for state in ClaimState})
    verdicts = _counted(session, VerdictRow.outcome)
    yield _by(
        "reprofarm_verdicts", "Verdicts by outcome.", "outcome", {found: verdicts.get(found, 0) for found in Outcome}
    )
    yield from _reproductions(session, at)
    yield from _workers(session, at)
    yield from _samples(session)
    unsent, oldest = session.execute(
        select(func.count(), func.min(OutboxRow.created_at)).where(OutboxRow.sent_at.is_(None))
    ).one()
    yield _one("reprofarm_outbox_unsent", "Messages that wait to be sent to the broker.", unsent)
    yield _one("reprofarm_outbox_age_seconds", "Age of the oldest message that waits to be sent.", _age(oldest, at))
    badges, revoked = session.execute(select(func.count(), func.count(Badge.revoked_at)).select_from(Badge)).one()
    yield _by(
        "reprofarm_badges", "Badges by whether they count.", "state", {"valid": badges - revoked, "revoked": revoked}
    )


def _reproductions(session: Session, at: datetime) -> Iterator[GaugeMetricFamily]:
    count = GaugeMetricFamily("reprofarm_reproductions", "Reproductions by pool and state.", labels=("pool", "state"))
    age = GaugeMetricFamily(
        "reprofarm_queue_age_seconds",
        "How long the oldest waiting reproduction of a pool has waited.",
        labels=("pool",),
    )
    rows = session.execute(
        select(Reproduction.pool, Reproduction.state, func.count(), func.min(Reproduction.created_at)).group_by(
            Reproduction.pool, Reproduction.state
        )
    ).all()
    for pool in sorted({row.pool for row in rows}):
        found = {state: (number, oldest) for name, state, number, oldest in rows if name == pool}
        for state in ReproductionState:
            count.add_metric((pool, state), found.get(state, (0, None))[0])
        waiting = [found[state][1] for state in WAITING if state in found]
        age.add_metric((pool,), _age(min(waiting, default=None), at))
    yield count
    yield age


def _workers(session: Session, at: datetime) -> Iterator[GaugeMetricFamily]:
    # Only workers of the policy's pools are ever entered: scheduler/workforce.py.
    count = GaugeMetricFamily("reprofarm_workers", "Workers by pool and state.", labels=("pool", "state"))
    age = GaugeMetricFamily(
        "reprofarm_worker_heartbeat_age_seconds",
        "Age of the latest word of the worker of a pool that has been silent for longest, lost ones aside.",
        labels=("pool",),
    )
    rows = session.execute(
        select(Worker.pool, Worker.state, func.count(), func.min(Worker.seen_at)).group_by(Worker.pool, Worker.state)
    ).all()
    for pool in sorted({row.pool for row in rows}):
        found = {state: (number, oldest) for name, state, number, oldest in rows if name == pool}
        for state in STATES:
            count.add_metric((pool, state), found.get(state, (0, None))[0])
        heard = [oldest for state, (_, oldest) in found.items() if state != "lost"]
        age.add_metric((pool,), _age(min(heard, default=None), at))
    yield count
    yield age


def _samples(session: Session) -> Iterator[GaugeMetricFamily]:
    run, there_were = session.execute(
        select(func.sum(Attempt.samples_done), func.sum(Attempt.samples_total))
        .join(Reproduction, Reproduction.reproduction_id == Attempt.reproduction_id)
        .where(Reproduction.state == ReproductionState.COMPLETED, Reproduction.attempt == Attempt.number)
    ).one()
    yield _one("reprofarm_samples_counted", "Samples that completed reproductions counted.", run or 0)
    yield _one("reprofarm_samples_population", "Samples that their tasks have: what full runs cost.", there_were or 0)


def _counted(session: Session, column: object) -> Mapping[str, int]:
    rows = session.execute(select(column, func.count()).group_by(column))  # type: ignore[call-overload]  # any column
    return {str(value): number for value, number in rows}


def _age(then: datetime | None, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds()) if then else 0.0


def _one(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _by(name: str, documentation: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=(label,))
    for value, number in values.items():
        family.add_metric((str(value),), number)
    return family
