"""What a caller may do, as three words of which each includes those before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from specs.api_v1.access import Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)
"""From the least to the most."""


def with_included(scopes: Iterable[str]) -> frozenset[Scope]:
    """The scopes, and those that they include; words that are none count for nothing."""
    highest = max((SCOPES.index(scope) for scope in SCOPES if scope in set(scopes)), default=-1)
    return frozenset(SCOPES[: highest + 1])
