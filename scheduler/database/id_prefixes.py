"""Ids that begin with what somebody typed, asked for along an index."""

from __future__ import annotations

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from specs.api_v1.views import ID_CHARS


def begins(column: InstrumentedAttribute[str], start: str) -> ColumnElement[bool]:
    """Whether an id in a column is `start`, or begins with it."""
    # Ids are hexadecimal, so that `g` comes after whatever can follow; a range uses the index, LIKE may not.
    return column == start if len(start) == ID_CHARS else column.between(start, start + "g")
