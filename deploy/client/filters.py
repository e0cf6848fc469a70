"""Which things of a list are wanted; None does not care."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClaimFilter:
    """Which claims."""

    model: str | None = None
    dataset: str | None = None
    task: str | None = None
    state: str | None = None
    outcome: str | None = None
    submitter: str | None = None
    since: str | None = None
    """Came into its state then or later, in ISO 8601."""

    q: str | None = None
    """A part of the id of its model or benchmark."""

    revision: str | None = None
    """Of `model`'s repo: `main`, `refs/pr/3`, or a commit or its start."""


@dataclass(frozen=True)
class ReproductionFilter:
    """Which reproductions."""

    model: str | None = None
    dataset: str | None = None
    task: str | None = None
    state: str | None = None
    pool: str | None = None
