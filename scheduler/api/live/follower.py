"""Polls the database, once for all who ask this process: has anything changed, and what?"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from scheduler.api.cursors import Cursor
from scheduler.api.event_view import event_view
from scheduler.api.live.listeners import Live, Message
from scheduler.database.high_watermark import high_watermark, settled_after, young_since
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Event, Reproduction, Worker
from scheduler.state_machine import ReproductionState
from specs.api_v1.live import ProgressView
from specs.judging.score_so_far import interval_so_far

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 1000
RUNS_LOOKED_AT = 2000
"""More than run at once in any farm; further ones have no live progress."""

CLAIMS_SHOWN = 20
"""Of a run that judges more."""


@dataclass(frozen=True)
class Mark:
    """What the database was like at a look. Where two are the same, so is all that the API says but for waits."""

    exact: str
    """Changes with every commit of anything by anybody; also of what nobody can see, such as locks."""

    events: int
    """Counts up with events of the record."""

    progress: int
    """Counts up with heartbeats."""


@dataclass(frozen=True)
class Running:
    """How far a run is, and all claims that it judges."""

    view: ProgressView
    claims: list[str]


class Follower:
    """Looks by itself, in a thread of its own."""

    def __init__(self, database: Database, look_seconds: float, live: Live) -> None:
        self._database = database
        self._look_seconds = look_seconds
        self._live = live
        self._mark: Mark | None = None
        self._changes = Mark("", 0, 0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Cursor | None = None
        self._unsettled: tuple[int, ...] = ()
        self._runs: dict[str, Running] = {}
        self._workers: tuple[Any, ...] = ()

    @property
    def mark(self) -> Mark | None:
        """As of the last look; None where nothing is known: before the first, and while the database is away."""
        return self._mark

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look; listeners are told in `loop`."""

        def tell(messages: list[Message], last: Cursor) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._live.tell, messages, last)

        self._thread = threading.Thread(target=self._run, args=(tell,), name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self, tell: Callable[[list[Message], Cursor], None]) -> None:
        said = False
        while not self._stop.is_set():
            try:
                # One connection for all looks: SQLite tells what others changed since the same connection's last look.
                with self._database.engine.connect().execution_options(reading=True) as connection:
                    self._look_until_stopped(connection, tell)
            except Exception as error:
                # Whatever it is: a thread that ends leaves its last mark, and the API says for ever what was true then.
                if self._mark is not None or not said:
                    its_own = not isinstance(error, SQLAlchemyError)
                    log.warning("cannot look for changes: %s", error, exc_info=its_own)
                self._mark, said = None, True
                # The next connection counts anew, and may come to the same: what was answered before must not hold.
                self._changes = Mark("", self._changes.events + 1, self._changes.progress + 1)
            self._stop.wait(self._look_seconds)

    def _look_until_stopped(self, connection: Connection, tell: Callable[[list[Message], Cursor], None]) -> None:
        while not self._stop.is_set():
            exact = _exact(connection, sqlite=self._database.is_sqlite)
            # Where nothing is new, what waited for a gap may have waited long enough.
            if self._mark is None or self._mark.exact != exact or self._unsettled:
                with Session(connection, expire_on_commit=False) as session:
                    self._look(session, exact, tell)
            connection.rollback()
            self._stop.wait(self._look_seconds)

    def _look(self, session: Session, exact: str, tell: Callable[[list[Message], Cursor], None]) -> None:
        before = self._changes
        if self._last is None:
            # Listeners who came before this read by themselves what they missed up to here.
            self._last = Cursor.at(session, high_watermark(session))
            tell([], self._last)
        messages, last, unsettled = _events_after(session, self._last)
        runs = _running(session)
        progress = [progress_message(run) for run_id, run in runs.items() if self._runs.get(run_id) != run]
        # Workers come, go and report without an event.
        workers = tuple(session.execute(select(func.count(), func.max(Worker.seen_at))).one())
        events_changed = bool(messages) or unsettled != self._unsettled
        progress_changed = bool(progress) or workers != self._workers
        # Only now, when all is read: where the database goes away in the middle of a look, the next one finds the same.
        self._last, self._unsettled, self._runs, self._workers = last, unsettled, runs, workers
        # The mark first, then the listeners: who is told asks at once, and must not get what was before.
        self._changes = Mark(exact, before.events + events_changed, before.progress + progress_changed)
        self._mark = self._changes
        if messages or progress:
            tell([*messages, *progress], last)


def _events_after(session: Session, last: Cursor) -> tuple[list[Message], Cursor, tuple[int, ...]]:
    """What is settled behind `last`, up to where that is, and the ids that wait for a gap to be filled."""
    messages: list[Message] = []
    young = young_since(session)
    while True:
        query = select(Event).where(Event.event_id > last.event_id).order_by(Event.event_id).limit(EVENTS_AT_ONCE)
        following = session.scalars(query).all()
        fixed = settled_after(last.event_id, following, young)
        messages += [event_message(event) for event in fixed]
        last = Cursor.behind(fixed[-1]) if fixed else last
        if len(fixed) < EVENTS_AT_ONCE:
            return messages, last, tuple(event.event_id for event in following[len(fixed) :])


def event_message(event: Event) -> Message:
    """An event as listeners get it."""
    about = frozenset({(event.subject, event.subject_id)})
    return Message("event", event_view(event).model_dump_json(), about, Cursor.behind(event))


def progress_message(run: Running) -> Message:
    """Progress as listeners get it."""
    about = {("reproduction", run.view.reproduction_id), *(("claim", claim_id) for claim_id in run.claims)}
    return Message("progress", run.view.model_dump_json(), frozenset(about))


def _exact(connection: Connection, *, sqlite: bool) -> str:
    """What changes with each commit.

    SQLite counts commits of other connections (https://sqlite.org/pragma.html#pragma_data_version). PostgreSQL's
    snapshot names the transactions that are not visible: one that commits after a look was not yet begun at that look,
    or named as under way, and at the next look it is neither.
    """
    query = "PRAGMA data_version" if sqlite else "SELECT pg_current_snapshot()::text"
    return str(connection.execute(text(query)).scalar_one())


def _running(session: Session) -> dict[str, Running]:
    query = (
        select(Attempt)
        .join(
            Reproduction,
            (Reproduction.reproduction_id == Attempt.reproduction_id) & (Reproduction.attempt == Attempt.number),
        )
        .where(Reproduction.state == ReproductionState.RUNNING)
        .limit(RUNS_LOOKED_AT)
    )
    attempts = session.scalars(query).all()
    claims: dict[str, list[str]] = {attempt.reproduction_id: [] for attempt in attempts}
    if claims:
        found = select(Claim.reproduction_id, Claim.claim_id).where(Claim.reproduction_id.in_(claims))
        for reproduction_id, claim_id in session.execute(found.order_by(Claim.claim_id)):
            claims[str(reproduction_id)].append(claim_id)
    return {
        attempt.reproduction_id: Running(
            _view(attempt, claims[attempt.reproduction_id]), claims[attempt.reproduction_id]
        )
        for attempt in attempts
    }


def _view(attempt: Attempt, claims: list[str]) -> ProgressView:
    return ProgressView(
        reproduction_id=attempt.reproduction_id,
        attempt=attempt.number,
        claims=tuple(claims[:CLAIMS_SHOWN]),
        stage=attempt.stage,
        samples_done=attempt.samples_done,
        samples_total=attempt.samples_total,
        score=attempt.score,
        score_interval=interval_so_far(attempt.score, attempt.samples_done),
    )
