"""Have a decided claim verified again."""

from __future__ import annotations

from scheduler.database.session import Database
from specs.errors import InterventionError


def reverify(database: Database, target: str, why: str, actor: str) -> list[str]:  # noqa: ARG001 - to come
    """Withdraw a decided claim and make its entry a new claim that demands a fresh run; what was done, line by line.

    Raises:
        InterventionError: it cannot be done.
    """
    raise InterventionError("not available")
