"""What the API says, version 1, where a badge is shown. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.api_v1.views import View

BadgeState = Literal[
    "verified",
    "stale",
    "revoked",
    "mismatch",
    "inconclusive",
    "failed",
    "unsupported",
    "running",
    "waiting",
    "blocked",
    "not_submitted",
]


class ShieldsBadge(View):
    """What shields.io's endpoint badge reads (https://shields.io/badges/endpoint-badge), and a little more."""

    schemaVersion: Literal[1] = 1  # noqa: N815 - the format's name
    label: str
    message: str
    color: str
    """Of the message, `#rrggbb`."""

    isError: bool = Field(False)  # noqa: N815 - the format's name
    """The colour is not to be overridden: a mismatch stays red."""

    cacheSeconds: int  # noqa: N815 - the format's name
    state: BadgeState
    claim_url: str | None
    """The page of the claim that it speaks of; null where there is none."""
