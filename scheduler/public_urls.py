"""Where the farm shows things to anybody."""

from __future__ import annotations


def evidence_url(public_url: str, sha256: str) -> str:
    """Of a run's log."""
    return f"{public_url.rstrip('/')}/v1/evidence/{sha256}"


def claim_url(public_url: str, claim_id: str) -> str:
    """Of a claim's page: for people, who come there from a badge, a feed or the Hub."""
    return f"{public_url.rstrip('/')}/claims/{claim_id}"
