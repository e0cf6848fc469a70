"""Have a badge count no more."""

from __future__ import annotations

from scheduler.database.session import Database
from specs.errors import InterventionError


def revoke(database: Database, badge_id: str, why: str, actor: str) -> list[str]:  # noqa: ARG001 - to come
    """Put a badge on the list of revocations; what was done, line by line.

    Raises:
        InterventionError: it cannot be done.
    """
    raise InterventionError("not available")
