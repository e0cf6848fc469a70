"""The result of one of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "missing"]
"""`missing` is what the farm cannot work without."""


@dataclass(frozen=True)
class Finding:
    """One thing that a farm needs or could use."""

    status: Status

    found: str
    remedy: str = ""
    """How to get it; empty where nothing has to be done."""
