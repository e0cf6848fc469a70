"""Things by their id, or by a prefix of it: nobody types 32 characters."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from scheduler.api.problems import Ambiguous, NotFound
from scheduler.database.id_prefixes import begins
from specs.api_v1.views import ID_CHARS, MIN_ID_PREFIX

MAX_LISTED = 5

START = re.compile(rf"^[0-9a-f]{{{MIN_ID_PREFIX},{ID_CHARS}}}$")


def _start(value: object) -> object:
    # Said by hand: few can read the pattern that stands in the document.
    if isinstance(value, str) and not START.fullmatch(value):
        raise PydanticCustomError(
            "id",
            "not an id: those are {whole} of the characters 0-9 and a-f, of which the first {start} or more do",
            {"whole": ID_CHARS, "start": MIN_ID_PREFIX},
        )
    return value


IdOrStart = Annotated[
    str,
    Path(
        pattern=START.pattern,
        description=f"An id, or its first {MIN_ID_PREFIX} characters or more, as long as only one begins with them.",
    ),
    BeforeValidator(_start),
]


def whole_id(session: Session, column: InstrumentedAttribute[str], start: str, what: str) -> str:
    """The one id in a column that begins with `start`.

    Raises:
        NotFound: none does.
        Ambiguous: several do.
    """
    found = session.scalars(select(column).where(begins(column, start)).order_by(column).limit(MAX_LISTED)).all()
    if not found:
        raise NotFound(f"there is no {what} {start}")
    if len(found) > 1:
        raise Ambiguous(f"several begin with {start}: {', '.join(found)}")
    return found[0]
