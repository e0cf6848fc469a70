"""What became of a claim, as the database and the Hub say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from huggingface_hub import DiscussionComment, HfApi
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Badge, Claim, Event, Publication, VerdictRow
from scheduler.state_machine import ClaimState
from tests.chaos.farm import Place


@dataclass(frozen=True)
class Seen:
    """A claim at one moment."""

    claim_id: str
    state: str
    reason: str
    outcome: str | None
    """Of its verdict."""

    badges: int
    publication: str | None
    reproduction_id: str | None
    batch_id: str | None
    run: str | None
    """The state of its reproduction."""

    attempt: int
    stage: str | None
    """Of the current attempt."""

    samples_done: int
    started_at: datetime | None
    """First word of the current attempt's worker."""

    attempts: tuple[str, ...]
    """How each ended, the one that goes on included."""

    times: dict[str, int]
    """How often each kind of event happened to the claim."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        if self.state != ClaimState.DECIDED:
            return self.state in (ClaimState.REJECTED, ClaimState.WITHDRAWN)
        return self.outcome != "verified" or (self.badges > 0 and self.publication in ("published", "withdrawn"))


def look(database: Database, place: Place) -> Seen | None:
    """The claim at a place that has one at most; None before it is found."""
    with database.reading() as session:
        there = Claim.pull_request.is_(None) if place.pull_request is None else Claim.pull_request == place.pull_request
        claim = session.scalars(select(Claim).where(Claim.model_id == place.model_id, there)).one_or_none()
        return None if claim is None else _seen(session, claim)


def _seen(session: Session, claim: Claim) -> Seen:
    run = claim.reproduction
    current = session.get(Attempt, (run.reproduction_id, run.attempt)) if run is not None else None
    events = select(Event.what, func.count()).where(Event.subject_id == claim.claim_id).group_by(Event.what)
    publication = session.get(Publication, claim.claim_id)
    return Seen(
        claim_id=claim.claim_id,
        state=claim.state,
        reason=claim.reason,
        outcome=session.scalar(select(VerdictRow.outcome).where(VerdictRow.claim_id == claim.claim_id)),
        badges=session.scalar(select(func.count()).select_from(Badge).where(Badge.claim_id == claim.claim_id)) or 0,
        publication=publication.state if publication is not None else None,
        reproduction_id=claim.reproduction_id,
        batch_id=run.batch_id if run is not None else None,
        run=run.state if run is not None else None,
        attempt=run.attempt if run is not None else 0,
        stage=current.stage if current is not None else None,
        samples_done=current.samples_done if current is not None else 0,
        started_at=current.started_at if current is not None else None,
        attempts=tuple(each.outcome or "…" for each in run.attempts) if run is not None else (),
        times={what: count for what, count in session.execute(events)},  # noqa: C416 - rows are no pairs to mypy
    )


def publications(hub_url: str, place: Place, author: str) -> int:
    """How often the farm told the Hub: by pull requests, closed ones included, or by comments on the claim's own."""
    hub = HfApi(endpoint=hub_url, token=False)
    if place.pull_request is None:
        listed = hub.get_repo_discussions(place.model_id, author=author)
        return sum(1 for each in listed if each.is_pull_request)
    events = hub.get_discussion_details(place.model_id, place.pull_request).events
    return sum(1 for each in events if isinstance(each, DiscussionComment) and each.author == author)
