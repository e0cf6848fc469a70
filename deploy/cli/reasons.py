"""Reasons as somebody types them: looked at before anything is done, by the API's own rules."""

from __future__ import annotations

from pydantic import ValidationError

from specs.api_v1.actions import MAX_WHY_CHARS, Reason
from specs.errors import ReprofarmError


class ReasonError(ReprofarmError):
    """What was typed is no reason; whoever typed it must act."""


def reason(typed: str) -> str:
    """Why something is asked for.

    Raises:
        ReasonError: it says nothing, or more than the record has room for.
    """
    try:
        return Reason(why=typed).why
    except ValidationError as error:
        raise ReasonError(
            f"--why says why, in up to {MAX_WHY_CHARS} characters that can be seen: it stands in the record"
        ) from error
