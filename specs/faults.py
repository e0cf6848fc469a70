"""What pydantic found wrong, as a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OWN_WORDS = "Value error, "
"""Pydantic's, before the words of a validator of ours."""


def fault(found: Mapping[str, Any]) -> str:
    """One of an error's `errors()`: where it is, and what. The input, which may be a secret, is not in it."""
    return f"{' '.join(map(str, found['loc']))}: {str(found['msg']).removeprefix(OWN_WORDS)}"
