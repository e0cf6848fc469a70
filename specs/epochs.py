"""How often a question is asked."""

from __future__ import annotations

import re

MAX_EPOCHS = 10_000
"""More answers to one question than any benchmark asks for."""

# Python takes no number of thousands of digits.
_MOST_DIGITS = 18


def epochs_needed(reducer: str | None) -> int:
    """How many epochs Inspect's reducer of that name asks for: the K of `pass_at_K` and `at_least_K`, else 1."""
    match = re.fullmatch(r"(?:pass_at|at_least)_([0-9]+)", reducer or "")
    return int(match[1][:_MOST_DIGITS]) if match else 1
