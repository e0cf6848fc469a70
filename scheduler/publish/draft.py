"""What is to be written on the Hub about one verdict, and what became of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scheduler.publish.result_file import Source


@dataclass(frozen=True)
class ClaimPlace:
    """A claim, as it was judged."""

    model_id: str
    pull_request: int | None
    """None is a claim on main."""

    path: str
    entry: int
    dataset_id: str
    task_id: str | None
    value: float
    notes: str | None
    dataset_revision: str | None = None
    """As the claim pins it."""


@dataclass(frozen=True)
class Measured:
    """The files of the model that were run."""

    revision: str
    weights_sha256: str
    """Of their names and contents: `scheduler.watch.contents`."""


@dataclass(frozen=True)
class Draft:
    """What is to be written about one verdict."""

    verdict_id: str
    claim: ClaimPlace
    mode: Literal["comment", "pull_request"]
    token: str | None
    """For the entry's `verifyToken`, in a pull request; None where policy does not want it there."""

    source: Source | None
    """For the entry's `source`, likewise."""

    title: str
    body: str
    measured: Measured | None = None
    """Nothing is written where the model has other files by now; None writes it all the same."""

    thread: int | None = None
    """The farm's own discussion in which it is told, as a comment, in place of what `mode` says; if it takes one."""

    gave: Callable[[str], bool] = lambda _: False
    """Whether the farm gave the badge with an id, which anybody may have written."""


@dataclass(frozen=True)
class Published:
    """What became of it."""

    kind: Literal["published", "already", "kept_out", "withdrawn"]
    """Nothing was written where it is `kept_out` (by somebody else's proof, which the entry carries) or `withdrawn`
    (the claim was gone or had changed)."""

    reason: str
    number: int | None = None
    """Of the pull request or discussion."""

    url: str | None = None
