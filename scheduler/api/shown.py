"""What rows hold as JSON, to be shown. What a later version of the farm added to it stays unsaid, after a step back."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


def shown(kind: type[T], stored: object) -> T:
    """As much of a value as this version knows. Nothing is decided by it: `scheduler.stored_values` reads it whole."""
    return kind.model_validate(stored, strict=False, extra="ignore")
