"""What became of claims: verdicts, their badges, and what is written on the Hub about them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scheduler.database.tables.base import Table, now, partial_index

if TYPE_CHECKING:
    from scheduler.database.tables.claims import Claim


class VerdictRow(Table):
    """The verdict on a claim."""

    __tablename__ = "verdict"
    __table_args__ = (
        Index("verdict_by_outcome", "outcome", "decided_at", "claim_id"),
        Index("verdict_by_age", "decided_at", "claim_id"),
    )

    claim_id: Mapped[str] = mapped_column(ForeignKey("claim.claim_id"), primary_key=True)
    """The primary key: a claim has one verdict at most."""

    outcome: Mapped[str] = mapped_column(String(20))
    verdict: Mapped[dict[str, Any]]
    """A `specs.judging.verdict.Verdict`."""

    reproduction_id: Mapped[str | None] = mapped_column(ForeignKey("reproduction.reproduction_id"))
    decided_at: Mapped[datetime] = mapped_column(default=now)

    claim: Mapped[Claim] = relationship(back_populates="verdict")
    badge: Mapped[Badge | None] = relationship(back_populates="verdict")


class Badge(Table):
    """A signed statement of a `verified` verdict."""

    __tablename__ = "badge"
    __table_args__ = (
        Index("badge_by_age", "signed_at", "claim_id"),
        partial_index("badge_by_key", "key_id", "claim_id", where="revoked_at IS NULL"),
        partial_index("badge_revoked", "revoked_at", "badge_id", where="revoked_at IS NOT NULL"),
    )

    claim_id: Mapped[str] = mapped_column(ForeignKey("verdict.claim_id"), primary_key=True)
    """The primary key: a verdict has one badge at most."""

    badge_id: Mapped[str] = mapped_column(String(32), unique=True)
    """The token's `jti`."""

    token: Mapped[str] = mapped_column(String(16_384))
    """The exact signed text; served as it is."""

    key_id: Mapped[str] = mapped_column(String(100))
    signed_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(String(1000))

    verdict: Mapped[VerdictRow] = relationship(back_populates="badge")


class RevokedKey(Table):
    """A signing key that is not to be believed any more, by its id: no key is ever in the database."""

    __tablename__ = "revoked_key"

    key_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    revoked_at: Mapped[datetime] = mapped_column(default=now)
    revoked_reason: Mapped[str] = mapped_column(String(1000))
    actor: Mapped[str] = mapped_column(String(200))


class Publication(Table):
    """What the farm has written, or is to write, on the Hub about a verdict."""

    __tablename__ = "publication"
    __table_args__ = (Index("publication_by_state", "state", "due_at"),)

    claim_id: Mapped[str] = mapped_column(ForeignKey("verdict.claim_id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), default="pending")
    """`pending`, `published`, `kept_out` (the entry carried somebody else's proof when it came to writing) or
    `withdrawn` (the claim was gone or changed)."""

    reason: Mapped[str] = mapped_column(String(1000), default="")
    number: Mapped[int | None]
    """Of the pull request or discussion; None also where it is published because the entry carried the proof."""

    url: Mapped[str | None] = mapped_column(String(500))
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=now)
    """When to try next; None where nothing is left to do."""
