"""Workers and pools: who is there, and what waits for them."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import and_, case, literal, select, tuple_
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.dependencies import Reading, TheSource, keep_for
from scheduler.api.live import answer_memory
from scheduler.api.pool_loads import pool_loads
from scheduler.api.problems import BadCursor
from scheduler.collect import workforce
from scheduler.database.tables import Attempt, Reproduction, Worker, now
from scheduler.dispatch.workers_wanted import workers_wanted
from scheduler.state_machine import ReproductionState
from scheduler.stored_values import read_known
from specs.api_v1.views import Page
from specs.api_v1.workers import DeviceMemoryView, GpuHealthView, PoolView, WorkerStateName, WorkerView
from specs.messages import DeviceMemory, Stage, WorkerState

router = APIRouter(prefix="/v1", tags=["workers"])

NEED = case((Worker.state == WorkerState.QUARANTINED, 0), (Worker.state == workforce.LOST, 1), else_=2)
"""Of somebody's look, the greatest first."""


@router.get("/workers")
def list_workers(
    session: Reading,
    pool: pages.Filter = None,
    state: WorkerStateName | None = None,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[WorkerView]:
    """Workers by name, those too that were lost within the last day."""
    conditions = pages.fitting((Worker.pool, pool), (Worker.state, state))
    if cursor is not None:
        conditions.append(Worker.name > cursor)
    rows = session.scalars(select(Worker).where(*conditions).order_by(Worker.name).limit(limit + 1)).all()
    running = _running(session, [row.name for row in rows])
    return pages.page(
        Page[WorkerView], rows, limit, lambda row: _view(row, running.get(row.name)), lambda row: row.name
    )


def list_in_need_first(session: Session, cursor: str | None, limit: int) -> Page[WorkerView]:
    """All workers: those in quarantine, then those that are lost, then others, each by name.

    Raises:
        BadCursor: it is none of this list.
    """
    query = select(Worker, NEED).order_by(NEED, Worker.name).limit(limit + 1)
    if cursor is not None:
        need, _, name = cursor.partition(":")
        if need not in ("0", "1", "2"):
            raise BadCursor("not a cursor of this list; take the one of its link as it is")
        query = query.where(tuple_(NEED, Worker.name) > tuple_(literal(int(need)), literal(name)))
    rows = session.execute(query).all()
    running = _running(session, [worker.name for worker, _ in rows])
    return pages.page(
        Page[WorkerView],
        rows,
        limit,
        lambda row: _view(row[0], running.get(row[0].name)),
        lambda row: f"{row[1]}:{row[0].name}",
    )


@router.get("/pools")
def list_pools(source: TheSource, session: Reading) -> Page[PoolView]:
    """Every pool of the policy, and every other one in which something still waits or runs."""
    rules = {pool.name: pool for pool in source.policy.pools}
    keep_for(session, answer_memory.LOOKED_AT_AGAIN_SECONDS)
    loads = {load.pool: load for load in pool_loads(session, now())}
    names = [*rules, *(pool for pool in loads if pool not in rules)]
    crews = workforce.crews(session, names)
    wanted = workers_wanted(session, source.policy)
    views = []
    for name in names:
        rule, load = rules.get(name), loads.get(name)
        views.append(
            PoolView(
                name=name,
                device=rule.device if rule else None,
                gpus=rule.gpus if rule else None,
                memory_gib=rule.memory_gib if rule else None,
                queued=load.queued if load else 0,
                dispatched=load.dispatched if load else 0,
                running=load.running if load else 0,
                workers_alive=crews[name].alive,
                workers_ready=crews[name].ready,
                workers_wanted=wanted.get(name, 0),
                oldest_wait_seconds=load.oldest_wait_seconds if load else None,
            )
        )
    return Page[PoolView](items=tuple(views), next=None)


def _running(session: Session, names: list[str]) -> dict[str, tuple[str, int]]:
    """The reproduction and attempt that each of these workers is at, of those whose lease it holds."""
    rows = session.execute(
        select(Reproduction.worker, Reproduction.reproduction_id, Reproduction.attempt)
        .join(
            Attempt,
            and_(Attempt.reproduction_id == Reproduction.reproduction_id, Attempt.number == Reproduction.attempt),
        )
        .where(
            Reproduction.state == ReproductionState.RUNNING,
            Reproduction.worker.in_(names),
            Attempt.stage != Stage.WAITING,
            Attempt.report.is_(None),
        )
    ).all()
    return {worker: (reproduction_id, attempt) for worker, reproduction_id, attempt in rows if worker is not None}


def _memory(told: DeviceMemory) -> DeviceMemoryView:
    health = told.health
    return DeviceMemoryView(
        device=told.device,
        total_bytes=told.total_bytes,
        free_bytes=told.free_bytes,
        health=None
        if health is None
        else GpuHealthView(
            temperature_celsius=health.temperature_celsius,
            uncorrected_errors=health.uncorrected_errors,
            sickness=health.sickness,
            worries=health.worries,
        ),
    )


def _view(row: Worker, running: tuple[str, int] | None) -> WorkerView:
    return WorkerView.model_validate(
        {
            "name": row.name,
            "pool": row.pool,
            "state": row.state,
            "reason": row.reason,
            "since": row.since,
            "seen_at": row.seen_at,
            "hardware": row.hardware,
            "memory": [_memory(read_known(DeviceMemory, each)) for each in row.memory],
            "engine": row.engine,
            "reproduction_id": running[0] if running else None,
            "attempt": running[1] if running else None,
        }
    )
