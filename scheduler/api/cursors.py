"""Where somebody is in the record: behind one event, by its number and its time.

The number alone would not do. A farm that is restored from a backup counts on from there: it gives the numbers of the
events that it lost to others, and whoever had those would miss the others in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Event

FORM = r"^[0-9]{1,18}(-[0-9a-f]{1,16})?$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cursor:
    """Stands behind an event; as text, what `after` and `Last-Event-ID` take."""

    event_id: int
    """0 is from before the first."""

    time: str | None = None
    """When it happened, in hexadecimal microseconds since 1970; None where somebody named the number alone."""

    def __str__(self) -> str:
        return str(self.event_id) if self.time is None else f"{self.event_id}-{self.time}"

    @classmethod
    def behind(cls, event: Event) -> Self:
        """The one behind an event of the record."""
        return cls(event.event_id, _time(event.at))

    @classmethod
    def at(cls, session: Session, event_id: int) -> Self:
        """The one behind the event of a number; the number alone where there is no such event."""
        at = session.scalar(select(Event.at).where(Event.event_id == event_id))
        return cls(event_id, None if at is None else _time(at))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The cursor that a text is, or None."""
        if re.fullmatch(FORM, text) is None:
            return None
        number, _, time = text.partition("-")
        return cls(int(number), time or None)

    def is_lost(self, session: Session) -> bool:
        """Whether the record does not have its event: it was restored from before it.

        Of a number alone that is only seen until the record has as many events again.
        """
        if self.time is not None:
            return Cursor.at(session, self.event_id) != self
        return (session.scalar(select(func.max(Event.event_id))) or 0) < self.event_id


def _time(at: datetime) -> str:
    return f"{(at - _EPOCH) // timedelta(microseconds=1):x}"
