"""What every route reads from."""

from __future__ import annotations

from collections.abc import Iterator
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


def _reading(source: TheSource) -> Iterator[Session]:
    with source.database.reading() as session:
        yield session


Reading = Annotated[Session, Depends(_reading)]
"""A session for one request; nothing that it changes is kept."""


def not_to_be_remembered(request: Request) -> None:
    """Have this answer worked out anew next time: something in it may be older than the database."""
    request.state.current = False
