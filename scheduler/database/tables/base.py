"""What all tables have in common: their base, times in UTC, and ids."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Index, LargeBinary, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase


def new_id() -> str:
    """An id nobody can guess or collide with."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, and PostgreSQL gives times in that of the session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a time without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Say that it is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        bytes: LargeBinary,
    }


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of those rows alone that fit a condition: it stays small, however many others there are."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
