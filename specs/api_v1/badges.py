"""What the API says, version 1, of badges and where they are shown. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from specs.api_v1.views import Page, View
from specs.attestation import Attestation

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


class BadgeSummary(View):
    """A signed statement of a verified verdict, by its id."""

    id: str
    signed_at: datetime
    revoked: bool


class Revocation(View):
    """A badge that no longer counts."""

    badge_id: str
    claim_id: str
    revoked_at: datetime
    reason: str


class Revocations(Page[Revocation]):
    """A part of the list of badges that no longer count, and all keys that do not."""

    revoked_keys: tuple[str, ...] = ()
    """Ids (`kid`) of signing keys that were revoked: no badge that one of them signed counts, whether or not it is in
    this list. Every part of the list has all of them."""


class BadgeView(BadgeSummary):
    """A badge with its proof."""

    claim_id: str
    key_id: str
    token: str
    """The exact signed text: the Hub's `verifyToken`."""

    payload: Attestation
    """What the token says, decoded; the proof is the token."""

    revocation: Revocation | None
    stale: bool = False
    """Whether it no longer describes what the Hub holds. It remains true of the commits that it names."""

    stale_reason: str | None = None
    superseded_by: str | None = None
    """Id of the claim that the same entry became when it was verified again; null if it was not."""


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
