"""Long lists in parts, by where the last part ended: what is added meanwhile shifts nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query
from pydantic import BeforeValidator
from sqlalchemy import ColumnElement, literal, tuple_

from scheduler.api.problems import BadCursor
from specs.api_v1.views import MAX_PAGE, Page, View

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="So many items at most.")]
PageCursor = Annotated[str | None, Query(max_length=200, description="The `next` of the part before.")]
Filter = Annotated[str | None, Query(max_length=200)]
"""What is asked for alone; None is any."""

EmptyIsAny = BeforeValidator(lambda value: None if value == "" else value)
"""For a filter as a form sends it. A second kind that is allowed would make two faults of what is wrong."""

NamePart = Annotated[str, Path(min_length=1, max_length=100)]
"""Of a repo's id, before or behind its slash."""

Row = TypeVar("Row")
Item = TypeVar("Item", bound=View)


def encode(at: datetime, row_id: str) -> str:
    """A cursor that stands behind one row of a list by time and id."""
    text = f"{at.astimezone(UTC).isoformat()}|{row_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, str]:
    """Time and id of the row that a cursor stands behind.

    Raises:
        BadCursor: it is none of ours.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        time, _, row_id = text.partition("|")
        at = datetime.fromisoformat(time)
        if at.tzinfo is not None:
            # Columns hold UTC; the first and last hours of the calendar have none.
            at = at.astimezone(UTC)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise BadCursor("not a cursor of this list; take the `next` of an earlier answer as it is") from error
    if at.tzinfo is None or not row_id.isalnum():
        raise BadCursor("not a cursor of this list; take the `next` of an earlier answer as it is")
    return at, row_id


def after(cursor: str, at: Any, row_id: Any) -> ColumnElement[bool]:  # two mapped columns, of whichever table
    """The condition for what follows a cursor in a list, newest first, by a time and an id."""
    then, last_id = decode(cursor)
    # Through the columns' own types, so that it compares as it is stored.
    return tuple_(at, row_id) < tuple_(literal(then, at.type), literal(last_id, row_id.type))


def fitting(*equal: tuple[Any, str | None]) -> list[ColumnElement[bool]]:  # mapped columns, of whichever table
    """The conditions for what is asked for: columns with what they are to hold. None is any."""
    return [column == wanted for column, wanted in equal if wanted is not None]


def page(
    form: type[Page[Item]],
    rows: Sequence[Row],
    limit: int,
    view: Callable[[Row], Item],
    cursor_of: Callable[[Row], str],
) -> Page[Item]:
    """The page of `rows`, of which one more than `limit` were asked for to see whether something follows."""
    kept = rows[:limit]
    more = len(rows) > limit
    return form(items=tuple(view(row) for row in kept), next=cursor_of(kept[-1]) if more else None)
