"""What the API says, version 1. Fields may be added; none changes its name or meaning, and none goes away.

Times are UTC. Scores are proportions, except `value`, which is as its author wrote it. Text that came from outside is
as it was stored: whoever shows it escapes it for the place it is shown in. A field that is null says, in its
description here, what that means.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

MAX_PAGE = 200

ID_CHARS = 32
"""Of an id, hexadecimal ones."""

MIN_ID_PREFIX = 6

NO_TYPE, PROBLEM_TYPE = "about:blank", "urn:problem-type:reprofarm:"
"""Of a problem: none but its status (RFC 9457), and what the farm's own begin with."""

DATABASE_AWAY = "database-away"
"""The name of one: the database does not answer, or is not migrated."""


class View(BaseModel):
    """The base of all answers. A client ignores fields that it does not know, so that the farm can add some."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


Item = TypeVar("Item")


class Page(View, Generic[Item]):
    """A part of a list."""

    # To look for docstrings takes 50 ms for a list of each kind, which is made where no source of it is.
    model_config = ConfigDict(use_attribute_docstrings=False)

    items: tuple[Item, ...]
    next: str | None = Field(description="Give it back as `cursor` for what follows; null where nothing does.")


class Problem(View):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str = NO_TYPE
    """Which error it is, for programs: `urn:problem-type:reprofarm:` and a name. Where there is none, what the status
    says."""

    title: str
    status: int
    detail: str
    errors: tuple[str, ...] = ()
    """Where a request is wrong in several places, each of them."""
