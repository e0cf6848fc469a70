"""What every route reads from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Self

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from scheduler.api.counted import Counted
from scheduler.api.follower import Follower
from scheduler.api.live import Live
from scheduler.database.session import Database
from scheduler.settings import Settings
from scheduler.telling_spans import tell_changes
from specs.policy import Policy, read_policy
from specs.spans import open_spans


@dataclass(frozen=True)
class Source:
    """What the API has of the farm: no Hub, no private key."""

    settings: Settings
    database: Database
    live: Live
    follower: Follower
    counted: Counted = field(default_factory=Counted)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The source of the farm that `settings` describe."""
        database = Database(settings.database_url)
        # Operators' actions end runs too.
        tell_changes(database, open_spans("reprofarm-api"))
        live = Live(settings.api_event_clients)
        return cls(settings, database, live, Follower(database, settings.api_look_seconds, live))

    @cached_property
    def policy(self) -> Policy:
        """The operator's rules, read once, as the control worker does."""
        return read_policy(self.settings.policy)

    def evidence_url(self, sha256: str) -> str:
        """Where anybody can fetch a run's log."""
        return f"{self.settings.public_url.rstrip('/')}/v1/evidence/{sha256}"


# Not run in a thread, like every dependency that does not wait: to go there and back takes longer than the work.
async def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


TheSource = Annotated[Source, Depends(_source)]


# Likewise: a session connects when it is first asked, in the thread that asks. Closing it waits for nobody, since it
# leaves no transaction behind.
async def _reading(request: Request, source: TheSource) -> AsyncIterator[Session]:
    with source.database.looking() as session:
        session.info[REQUEST] = request
        yield session


Reading = Annotated[Session, Depends(_reading)]
"""A session for one request; nothing that it changes is kept."""

REQUEST = "request"


def not_to_be_remembered(request: Request) -> None:
    """Have this answer worked out anew next time: something in it may be older than the database."""
    request.state.current = False


def not_to_be_remembered_of(session: Session) -> None:
    """The same, by the session with which a request is answered."""
    if REQUEST in session.info:
        not_to_be_remembered(session.info[REQUEST])
