"""A line of the record as the API's model."""

from __future__ import annotations

from scheduler.api.cursors import Cursor
from scheduler.database.tables import Event
from specs.api_v1.events import EventView


def event_view(row: Event) -> EventView:
    """As routes and listeners get it."""
    return EventView(
        id=row.event_id,
        cursor=str(Cursor.behind(row)),
        at=row.at,
        actor=row.actor,
        subject=row.subject,
        subject_id=row.subject_id,
        what=row.what,
        why=row.why,
    )
