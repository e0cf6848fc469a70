"""What every route reads from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.settings import Settings


@dataclass(frozen=True)
class Source:
    """What the API has of the farm: no policy, no Hub, no key."""

    settings: Settings
    database: Database

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
