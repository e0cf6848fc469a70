"""The verified verdict that has waited for its badge for longest, without looking at all verdicts for each scrape."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.tables import Badge, Claim, VerdictRow
from scheduler.metrics.totals import SETTLED_AFTER
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome


class OldestUnsigned:
    """What has its badge, or was withdrawn, never waits again: so each scrape begins where the one before found it.

    The first goes through all that have their badges.
    """

    def __init__(self) -> None:
        self._since: datetime | None = None

    def read(self, session: Session, at: datetime) -> datetime | None:
        """When that verdict was given; None where each has its badge."""
        query = (
            select(VerdictRow.decided_at)
            .join(Claim, Claim.claim_id == VerdictRow.claim_id)
            .outerjoin(Badge, Badge.claim_id == VerdictRow.claim_id)
            .where(VerdictRow.outcome == Outcome.VERIFIED, Claim.state == ClaimState.DECIDED, Badge.claim_id.is_(None))
            # Not the least of all that wait: so it ends at the first.
            .order_by(VerdictRow.decided_at)
            .limit(1)
        )
        if self._since is not None:
            query = query.where(VerdictRow.decided_at >= self._since)
        oldest = session.scalar(query)
        self._since = (oldest or at) - SETTLED_AFTER
        return oldest
