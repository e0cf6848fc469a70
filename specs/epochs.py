"""How often a question is asked."""

from __future__ import annotations

import re

MAX_EPOCHS = 10_000
"""More answers to one question than any benchmark asks for."""

# Python takes no number of thousands of digits.
_MOST_DIGITS = 18


MEAN = "mean"
"""The reducer where a spec names none."""


def answers_averaged(epochs: int, reducer: str) -> int:
    """By how much a sample's score over its epochs varies less than that of one epoch, as far as anything promises it.

    The mean of E answers has a part 1/E of their variance. `pass_at_K` is the mean over all choices of K of them, which
    varies no more than the mean over E // K choices that share none (Hoeffding, "A class of statistics with
    asymptotically normal distribution", 1948). All others make one answer of all, which is right or wrong like any.
    """
    if reducer == MEAN:
        return epochs
    return max(1, epochs // max(1, epochs_needed(reducer))) if reducer.startswith("pass_at_") else 1


def same_by_any_number(reducer: str | None) -> bool:
    """Whether more or fewer epochs, if enough for its K, estimate the same score by Inspect's reducer of that name.

    The best or the commonest of eight answers is another thing than one answer, and so are K right ones among eight;
    `pass_at_K` is of K answers however many there are to choose them from.
    """
    return reducer is None or reducer == MEAN or reducer.startswith("pass_at_")


def epochs_needed(reducer: str | None) -> int:
    """How many epochs Inspect's reducer of that name asks for: the K of `pass_at_K` and `at_least_K`, else 1."""
    match = re.fullmatch(r"(?:pass_at|at_least)_([0-9]+)", reducer or "")
    return int(match[1][:_MOST_DIGITS]) if match else 1
