"""Values as JSON has them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any


def to_json_value(value: object) -> Any:
    """The same value with what JSON lacks replaced: dates become ISO 8601 text, keys text, NaN and bytes text."""
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [to_json_value(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def hub_time(moment: datetime) -> str:
    """A time as huggingface.co writes it: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
