"""Claims: all of them, and one with what became of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from scheduler.api import claims, events, pages
from scheduler.api.badges import badge_of_claim
from scheduler.api.ids import IdOrStart
from scheduler.api.reproductions import show_reproduction
from scheduler.api.source import Reading, Source, TheSource
from scheduler.dashboard.pages import PageRoute, render
from scheduler.dashboard.visitor import Visitor, visitor_of
from specs.api_v1 import ClaimStateName, ClaimView, ReproductionView
from specs.likely_reasons import likely_reasons
from specs.repeating import RanWhat, commands
from specs.verdict import Outcome

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN_CLAIMS = 25
SHOWN_EVENTS = 200

Wanted = Annotated[str, Query(max_length=200)]


@router.get("/claims")
def claims_page(  # noqa: PLR0913, PLR0917 - the query's parameters
    request: Request,
    source: TheSource,
    session: Reading,
    q: Wanted = "",
    dataset: Wanted = "",
    task: Wanted = "",
    submitter: Wanted = "",
    state: Annotated[ClaimStateName | None, Query()] = None,
    outcome: Annotated[Outcome | None, Query()] = None,
    cursor: pages.Cursor = None,
) -> Response:
    """Claims that fit what is asked for, newest first."""
    found = claims.list_claims(
        source,
        session,
        model=q.strip() or None,
        dataset=dataset.strip() or None,
        task=task.strip() or None,
        submitter=submitter.strip() or None,
        state=state,
        outcome=outcome,
        cursor=cursor,
        limit=SHOWN_CLAIMS,
    )
    asked = {
        "q": q, "dataset": dataset, "task": task, "submitter": submitter, "state": state or "", "outcome": outcome or ""
    }  # fmt: skip
    return render(
        request,
        "claims.html",
        claims=found.items,
        next=found.next,
        cursor=cursor,
        asked=asked,
        outcomes=tuple(Outcome),
        states=ClaimStateName.__args__,  # type: ignore[attr-defined]  # of a Literal
    )


@router.get("/claims/{claim_id}")
def claim_page(request: Request, source: TheSource, session: Reading, claim_id: IdOrStart) -> Response:
    """One claim: how it stands, what was measured, all that happened, and what somebody can do."""
    claim = claims.show_claim(source, session, claim_id)
    run = show_reproduction(source, session, claim.reproduction.id) if claim.reproduction else None
    visitor = visitor_of(request)
    return render(
        request,
        "claim.html",
        claim=claim,
        run=run,
        badge=badge_of_claim(session, claim.id) if claim.badge else None,
        events=events.events_of_claim(session, claim.id, limit=SHOWN_EVENTS).items,
        commands=_commands(run),
        reasons=_reasons(claim, run),
        actions=actions(claim, visitor),
        may_act=visitor.may_act_on(claim.model, claim.dataset),
        public_url=source.settings.public_url.rstrip("/"),
        hub=source.settings.hub_endpoint.rstrip("/"),
    )


def actions(claim: ClaimView, visitor: Visitor) -> tuple[tuple[str, str, str], ...]:
    """What can be asked for in this state: name of the API's action, words of the button, what it does."""
    found = []
    if claim.state in ("decided", "blocked") and claim.dataset:
        found.append(("reverify", "Verify again", "A fresh run at the current commits; this verdict stays in the record."))
    if claim.state == "blocked":
        found.append(("retry", "Retry", "Plans the claim again now, in case what held it back is gone."))
    if claim.state in ("submitted", "planned", "blocked"):
        found.append(("cancel", "Cancel", "Ends the claim's run, if nobody else waits for it."))
    if visitor.may_operate and claim.state == "blocked":
        found.append(("approve", "Approve", "Lets it run although it costs more than policy allows by itself."))
    if claim.state == "decided" and claim.verdict and claim.publication is None:
        found.append(("publish", "Publish", "Writes the verdict on the Hub, beside the claim."))
    return tuple(found)


def _commands(run: ReproductionView | None) -> tuple[str, str] | None:
    if run is None or run.measurement is None:
        return None
    what = RanWhat(run.model, run.model_revision, run.dataset, run.dataset_revision, run.task)
    return commands(what, run.measurement.circumstances)


def _reasons(claim: ClaimView, run: ReproductionView | None) -> tuple[str, ...]:
    verdict = claim.verdict
    if verdict is None or verdict.outcome is not Outcome.MISMATCH or verdict.comparison is None:
        return ()
    ran = run.measurement.circumstances if run and run.measurement else None
    return likely_reasons(
        verdict.comparison, ran, dataset_pinned=claim.dataset_revision is not None, value=claim.value
    )
