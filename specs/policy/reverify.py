"""The operator's rules for verifying again what has its verdict already."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from specs.contract import Contract
from specs.version_order import is_version


class ReverifyRules(Contract):
    """When a claim is verified again, and how often at most."""

    cooldown_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 86_400.0
    """Between two re-verifications of one score, whoever asks: nobody repeats a run until the result pleases. What is
    asked within it on the same weights and task, whatever the value, shares fresh runs. A new commit of the model's
    files or the benchmark's does not wait for it, since it is another thing to measure: within it, by every sample. Nor
    does a claim that failed or was unsupported: nothing was found out."""

    after_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A badge older than this is stale, and its claim is verified again; None is never."""

    on_change: bool = False
    """Verify again by itself what no longer describes the model's head, the benchmark's, or `minimum_versions`."""

    minimum_versions: dict[str, str] = Field(default_factory=dict)
    """Oldest version of a package, `vllm` say, whose runs still count as current; by its name in a badge."""

    at_once: Annotated[int, Field(ge=0)] = 20
    """Claims that the farm verifies again by itself at one time at most."""

    comments: bool = True
    """Take `/reverify` in comments on the Hub from those who may ask for it."""

    @field_validator("minimum_versions")
    @classmethod
    def _are_versions(cls, found: dict[str, str]) -> dict[str, str]:
        for name, version in found.items():
            if not is_version(version):
                raise ValueError(f"{version!r} is no version of {name}")
        return found
