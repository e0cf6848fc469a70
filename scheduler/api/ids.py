"""Things by their id, or by the start of it: nobody types 32 characters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from scheduler.api.problems import Ambiguous, NotFound
from specs.api_v1 import MIN_ID_PREFIX

ID_CHARS = 32
MAX_LISTED = 5

IdOrStart = Annotated[
    str,
    Path(
        pattern=rf"^[0-9a-f]{{{MIN_ID_PREFIX},{ID_CHARS}}}$",
        description=f"An id, or its first {MIN_ID_PREFIX} characters or more, as long as only one begins with them.",
    ),
]


def whole_id(session: Session, column: InstrumentedAttribute[str], start: str, what: str) -> str:
    """The one id in a column that begins with `start`.

    Raises:
        NotFound: none does.
        Ambiguous: several do.
    """
    # Ids are hexadecimal, so that `g` comes after whatever can follow; a range uses the index, LIKE may not.
    condition: Any = column == start if len(start) == ID_CHARS else column.between(start, start + "g")
    found = session.scalars(select(column).where(condition).order_by(column).limit(MAX_LISTED)).all()
    if not found:
        raise NotFound(f"there is no {what} {start}")
    if len(found) > 1:
        raise Ambiguous(f"several begin with {start}: {', '.join(found)}")
    return found[0]
