"""What routes depend on, as FastAPI provides it: the farm's settings and database, and a session for each request."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Self, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from scheduler.api.live.count_cache import Count, CountCache
from scheduler.api.live.follower import Follower
from scheduler.api.live.listeners import Live
from scheduler.database.session import Database
from scheduler.settings import Settings
from scheduler.telemetry.spans import trace_changes
from specs.policy.rules import Policy, read_policy
from specs.processes.spans import open_spans

REQUEST, MARK = "request", "mark"
"""What a session knows of the request that it answers."""

KEEP_UNTIL = "keep_until"
"""Of a request's state: when its answer is worked out again at the latest, by the monotonic clock."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Source:
    """What the API has of the farm: no Hub, no private key."""

    settings: Settings
    policy: Policy
    """The operator's rules, read once, as the control worker does: a changed file counts from the next start."""
    database: Database
    live: Live
    follower: Follower
    counts: CountCache = field(default_factory=CountCache)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The source of the farm that `settings` describe.

        Raises:
            PolicyError: its policy cannot be read.
        """
        policy = read_policy(settings.policy)
        database = Database(settings.database_url)
        # Operators' actions end runs too.
        trace_changes(database, open_spans("reprofarm-api"))
        live = Live(settings.api_event_clients)
        return cls(settings, policy, database, live, Follower(database, settings.api_look_seconds, live))

    def count(
        self, session: Session, key: tuple[str, ...], count: Callable[[], Value], *, changes_by_itself: bool = False
    ) -> Count[Value]:
        """What `count` finds with `session`, or found lately (scheduler/api/live/count_cache.py).

        What `changes_by_itself`, as time goes on, is counted again where nothing was written, too. An answer with a
        count that may be older than the database is remembered until that is counted again.
        """
        # The mark from before the session's first look: SQLite shows it nothing that came after that.
        found = self.counts.get(key, None if changes_by_itself else session.info[MARK], count)
        if not found.current:
            _keep_until(session, found.due)
        return found


def keep_for(session: Session, seconds: float) -> None:
    """Have the answer to the request of `session` remembered for no longer: by then it would be another."""
    _keep_until(session, time.monotonic() + seconds)


def _keep_until(session: Session, at: float) -> None:
    state = session.info[REQUEST].state
    setattr(state, KEEP_UNTIL, min(at, getattr(state, KEEP_UNTIL, math.inf)))


# Not run in a thread, like every dependency that does not wait: to go there and back takes longer than the work.
async def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


TheSource = Annotated[Source, Depends(_source)]


# Likewise: a session connects when it is first asked, in the thread that asks. Closing it waits for nobody, since it
# leaves no transaction behind. It is closed before the answer is sent: whoever takes long to read a log, or never reads
# it to its end, would keep others from the database.
async def _reading(request: Request, source: TheSource) -> AsyncIterator[Session]:
    with source.database.looking() as session:
        session.info.update({REQUEST: request, MARK: source.follower.mark})
        yield session


Reading = Annotated[Session, Depends(_reading, scope="function")]
"""A session for one request, until its answer is known; nothing that it changes is kept."""
