"""What the farm writes on the Hub, if anything."""

from __future__ import annotations

from typing import Annotated, Literal

from specs.model import Contract
from specs.policy.switched_off import Off

Proof = Literal["verify_token", "source"]


class PublishRules(Contract):
    """What the farm writes on the Hub."""

    mode: Annotated[Literal["off", "comment", "pull_request"], Off] = "off"
    proof: tuple[Proof, ...] = ("verify_token",)
    """Where a pull request puts the proof: the `verifyToken` field, the entry's `source`, or both."""

    verdicts: tuple[Literal["verified", "mismatch"], ...] = ("verified",)
    """Which verdicts are written. That a published badge is revoked by a mismatch is always written, and so is that
    a published mismatch was reproduced later."""
