"""SQL that is compiled once for all farms of a test process.

SQLAlchemy keeps what it compiled with an engine and its dialect, which is right for a farm: it has one of each for its
life. Tests make thousands, whose statements are the same; to compile them took half of their time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from scheduler.database import postgres, sqlite

_STATEMENTS = 2000


def compile_once() -> None:
    """Have all engines of a kind share what was compiled for one of them."""
    # They are part of the keys, and farms' are all made alike.
    DefaultDialect.__eq__ = _are_alike  # type: ignore[method-assign]
    DefaultDialect.__hash__ = _kind  # type: ignore[method-assign, assignment]
    sqlite.engine = _sharing(sqlite.engine)  # type: ignore[assignment]
    postgres.engine = _sharing(postgres.engine)  # type: ignore[assignment]


def _are_alike(one: object, other: object) -> bool:
    return type(one) is type(other)


def _kind(dialect: object) -> int:
    return hash(type(dialect))


def _sharing(make: Callable[[URL], Engine]) -> Callable[[URL], Engine]:
    compiled: LRUCache[Any, Any] = LRUCache(_STATEMENTS)

    def made(url: URL) -> Engine:
        found = make(url)
        found.update_execution_options(compiled_cache=compiled)
        return found

    return made
