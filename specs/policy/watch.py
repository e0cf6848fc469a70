"""What the operator has the farm look at on the Hub, and how often."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.contract import Contract
from specs.validation_errors import must_be


class WatchRules(Contract):
    """What the farm looks at, and how often."""

    benchmarks: Annotated[Literal["official"] | tuple[str, ...], must_be("'official' or a list of dataset ids")] = (
        "official"
    )
    """`official` is every dataset the Hub lists as a benchmark; else an allow-list of dataset ids."""

    models: tuple[str, ...] = ()
    """Model ids to look at on every scan, whether or not a leaderboard names them."""

    scan_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Between two looks at the leaderboards."""

    sweep_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Between two looks at a known model that no leaderboard announced as changed: finds broken files too."""
