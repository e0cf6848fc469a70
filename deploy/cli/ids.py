"""Ids as somebody types them: looked at before anything is asked, and then as a claim's or a reproduction's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from deploy.client import ApiError
from specs.api_v1.views import ID_CHARS, MIN_ID_PREFIX
from specs.errors import ReprofarmError
from specs.ids import is_repo_id

ID = re.compile(rf"[0-9a-f]{{{MIN_ID_PREFIX},{ID_CHARS}}}")

Found = TypeVar("Found")


class IdError(ReprofarmError):
    """What was typed is no id; whoever typed it must act."""


def of_claim(typed: str) -> str:
    """The id of a claim or the start of it, or the same of its badge.

    Raises:
        IdError: it is none, whatever the farm has.
    """
    return _checked(typed, "`reprofarm claims` lists them")


def of_either(typed: str) -> str:
    """The id of a claim or a reproduction, or the start of it.

    Raises:
        IdError: it is none, whatever the farm has.
    """
    return _checked(typed, "`reprofarm claims` and `reprofarm reproductions` list them")


def _checked(typed: str, listed: str) -> str:
    if ID.fullmatch(typed):
        return typed
    if "/" in typed and is_repo_id(typed):
        listed = f"`reprofarm claims --model {typed}` lists those of that model"
    raise IdError(
        f"{typed!r} is no id: those are {ID_CHARS} of the characters 0-9 and a-f, of which the first {MIN_ID_PREFIX} or"
        f" more do; {listed}"
    )


def claim_or_reproduction(target: str, as_claim: Callable[[], Found], as_reproduction: Callable[[], Found]) -> Found:
    """What the farm says of a claim with that id; where it has none, of a reproduction.

    Raises:
        ApiError: it has neither, or cannot answer.
    """
    for ask in (as_claim, as_reproduction):
        try:
            return ask()
        except ApiError as error:
            if not error.is_missing:
                raise
    raise ApiError(f"there is no claim and no reproduction {target}")
