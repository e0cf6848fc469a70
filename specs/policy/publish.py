"""What the farm writes on the Hub, if anything."""

from __future__ import annotations

from typing import Annotated, Literal

from specs.contract import Contract
from specs.policy.switched_off import Off

Proof = Literal["verify_token", "source"]


class PublishRules(Contract):
    """What the farm writes on the Hub."""

    mode: Annotated[Literal["off", "comment", "pull_request"], Off] = "off"
    proof: tuple[Proof, ...] = ("verify_token",)
    """Where a pull request puts the proof: the `verifyToken` field, the entry's `source`, or both."""

    verdicts: tuple[Literal["verified", "mismatch"], ...] = ("verified",)
    """Which verdicts are written. It is always written when a mismatch revokes a published badge, and when a published
    mismatch is reproduced later."""
