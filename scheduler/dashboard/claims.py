"""Claims: all of them, and one with what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.badge_states import said_of
from scheduler.api.callers.rights import may, require_to_cancel, require_to_retry
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.ids import IdOrStart
from scheduler.api.routes import claims, events
from scheduler.api.routes.badge_images import badge_path
from scheduler.api.routes.badges import badge_of_claim
from scheduler.api.routes.reproductions import show_reproduction
from scheduler.dashboard.pages import PageRoute, render
from scheduler.dashboard.visitor import Visitor, visitor_of
from scheduler.database.tables import Claim
from scheduler.planning.begun_again import is_operators_to_cancel
from scheduler.state_machine import ACTIVE, ClaimState
from specs.api_v1.claims import ClaimStateName, ClaimView
from specs.judging.verdict import Outcome

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN_CLAIMS = 25
SHOWN_EVENTS = 200


@dataclass(frozen=True)
class Action:
    """A button: where the API takes what it asks for, its words, and what it does."""

    path: str
    words: str
    says: str


Filter = Annotated[str, Query(max_length=200)]


class Search(BaseModel):
    """What the page's form asks for; an empty field is any."""

    q: Annotated[str, Query(max_length=claims.MAX_PART_CHARS)] = ""
    dataset: Filter = ""
    task: Filter = ""
    submitter: Filter = ""
    state: Annotated[ClaimStateName | None, pages.EmptyIsAny] = None
    outcome: Annotated[Outcome | None, pages.EmptyIsAny] = None
    cursor: pages.PageCursor = None

    def wanted(self) -> claims.WantedClaims:
        """The same as the API has it."""
        return claims.WantedClaims(
            q=self.q.strip() if len(self.q.strip()) > 1 else None,
            dataset=self.dataset.strip() or None,
            task=self.task.strip() or None,
            submitter=self.submitter.strip() or None,
            state=self.state,
            outcome=self.outcome,
            cursor=self.cursor,
            limit=SHOWN_CLAIMS,
        )


@router.get("/claims")
def claims_page(request: Request, source: TheSource, session: Reading, search: Annotated[Search, Query()]) -> Response:
    """Claims that fit what is asked for, newest first."""
    found = claims.list_claims(source, session, search.wanted())
    return render(
        request,
        "claims.html",
        claims=found.items,
        next=found.next,
        cursor=search.cursor,
        asked=search.model_dump(exclude={"cursor"}),
        outcomes=tuple(Outcome),
        states=get_args(ClaimStateName),
    )


@router.get("/claims/{claim_id}")
def claim_page(request: Request, source: TheSource, session: Reading, claim_id: IdOrStart) -> Response:
    """One claim: how it stands, what was measured, all that happened, and what somebody can do."""
    claim = claims.show_claim(source, session, claim_id)
    run = show_reproduction(source, session, claim.reproduction.id) if claim.reproduction else None
    visitor = visitor_of(request)
    row = session.get_one(Claim, claim.id)
    happened = events.latest_of_claim(session, claim.id, SHOWN_EVENTS)
    return render(
        request,
        "claim.html",
        claim=claim,
        run=run,
        badge=badge_of_claim(session, claim.id) if claim.badge else None,
        events=happened.items,
        more_events=happened.next is not None,
        # Where it names no benchmark, there is no badge.
        badge_path=badge_path(claim.model, claim.dataset, claim.task) if claim.dataset is not None else None,
        said=said_of(session, claim.model, claim.dataset, claim.task) if claim.dataset is not None else None,
        actions=actions(
            claim,
            visitor,
            awaits_approval=row.awaits_approval,
            may_retry=may(require_to_retry, session, visitor.caller, row),
            may_cancel=may(require_to_cancel, session, visitor.caller, row) and not _is_kept(session, visitor, row),
            publishes=source.policy.publish.mode != "off",
        ),
        revoking=revoking(claim, visitor),
        may_act=visitor.may_act_on(claim.model, claim.dataset),
        public_url=source.settings.public_url.rstrip("/"),
        hub=source.settings.hub_endpoint,
        thread=_thread(source, claim),
    )


def _is_kept(session: Session, visitor: Visitor, claim: Claim) -> bool:
    """Whether the claim's run goes on although the visitor wants it cancelled, as it was once: the API refuses that.

    Where another claim waits for it the API lets this one go.
    """
    run = claim.reproduction
    if visitor.may_operate or run is None or run.state not in ACTIVE or not is_operators_to_cancel(session, run):
        return False
    return not any(other.state == ClaimState.PLANNED for other in run.claims if other is not claim)


def actions(
    claim: ClaimView, visitor: Visitor, *, awaits_approval: bool, may_retry: bool, may_cancel: bool, publishes: bool
) -> tuple[Action, ...]:
    """What can be asked for in this state, the likeliest first.

    `awaits_approval` is whether an approval is what a blocked claim waits for, `may_retry` whether the visitor may have
    it tried again, which they may not where an operator cancelled it, `may_cancel` whether its run is theirs to cancel,
    and `publishes` whether the farm writes on the Hub.
    """
    found = []

    def offer(name: str, words: str, says: str) -> None:
        found.append(Action(f"/v1/claims/{claim.id}/{name}", words, says))

    outcome = claim.verdict.outcome if claim.verdict is not None else None
    if claim.state == "decided" and outcome is Outcome.FAILED:
        offer("retry", "Try again", "Runs the same entry once more, in case what made it fail is mended.")
    elif claim.state == "decided":
        says = "A fresh run of the same entry, at the current commits. This verdict stays in the record."
        offer("reverify", "Verify again", says)
    counts = not claim.stale and (claim.badge is None or not claim.badge.revoked)
    if claim.state == "decided" and publishes and outcome is Outcome.VERIFIED and counts and claim.publication is None:
        offer("publish", "Publish", "Writes the verdict and its proof on the Hub, beside the claim.")
    if visitor.may_operate and awaits_approval and claim.state == "blocked":
        offer("approve", "Approve", "Lets it run although it is taken to cost more than policy allows.")
    if claim.state == "blocked" and may_retry:
        offer("retry", "Try again", "Plans the claim anew, in case what held it back is gone.")
    # Those of the benchmark have runs repeated and take none back, but what they asked for.
    if claim.state == "planned" and may_cancel:
        offer("cancel", "Cancel the run", "Ends the claim's run, unless another claim waits for it too.")
    return tuple(found)


def revoking(claim: ClaimView, visitor: Visitor) -> Action | None:
    """To have the claim's badge count no more; None where there is none that does, or the visitor may not."""
    if claim.badge is None or claim.badge.revoked or not visitor.may_operate:
        return None
    says = (
        "The badge counts no more, for everybody who checks it, and the public list of revocations gives your reason."
        " What stands on the Hub stays there. There is no way back."
    )
    return Action(f"/v1/badges/{claim.badge.id}/revoke", "Revoke", says)


def _thread(source: Source, claim: ClaimView) -> str | None:
    """Where on the Hub a comment about the claim is heard; None where none is."""
    if not source.policy.reverify.comments:
        return None
    if claim.pull_request is not None:
        return f"{source.settings.hub_endpoint}/{claim.model}/discussions/{claim.pull_request}"
    return claim.publication.url if claim.publication else None
