"""What every route reads from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.settings import Settings
from specs.policy import Policy, read_policy


@dataclass(frozen=True)
class Source:
    """What the API has of the farm: no Hub, no private key."""

    settings: Settings
    database: Database

    @cached_property
    def policy(self) -> Policy:
        """The operator's rules, read once, as the control worker does."""
        return read_policy(self.settings.policy)

    def evidence_url(self, sha256: str) -> str:
        """Where anybody can fetch a run's log."""
        return f"{self.settings.public_url.rstrip('/')}/v1/evidence/{sha256}"


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


TheSource = Annotated[Source, Depends(_source)]


def _reading(source: TheSource) -> Iterator[Session]:
    with source.database.reading() as session:
        yield session


Reading = Annotated[Session, Depends(_reading)]
"""A session for one request; nothing that it changes is kept."""
