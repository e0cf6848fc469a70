"""Claims become reproductions: one for all claims of the same weights, task, spec and settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select
from sqlalchemy.exc import IntegrityError

from scheduler.admission import budgets
from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model, now
from scheduler.hub.hub import Hub
from scheduler.own_faults import OURS
from scheduler.planning.assessment import Assessment, assess
from scheduler.planning.carrying_out import carry_out
from scheduler.planning.linked_logs import SUFFIX, LinkedLogs, NotNow
from scheduler.planning.planning_facts import HiddenNow, NotListedYet, PlanningFacts
from scheduler.record import MAX_REASON_CHARS, RECHECK, give_verdict, unblock_claim
from scheduler.state_machine import ClaimState
from specs.errors import HubAway
from specs.judging.verdict import Outcome, Verdict
from specs.policy.budget import BudgetRules
from specs.policy.rules import Policy
from specs.processes.log_lines import about
from specs.text import clean

log = logging.getLogger(__name__)

PLANNED_AT_ONCE = 500

TOGETHER = 50
"""Claims planned in one transaction: most of its cost is the commit, and others wait for its rows for so long."""

AWAY_IN_A_ROW = 3
"""Claims for which the Hub did not answer before a round ends: it is not about them."""

AGAIN = 4
"""One in so many of the blocked claims that a round looks at is for those that no day's budget held back."""

HUB_RETRY = timedelta(seconds=30)
"""Until a claim for which the Hub did not answer, or no scan has yet, is looked at again; meanwhile others have their
turn."""


def plan(database: Database, hub: Hub, policy: Policy) -> int:
    """Give every claim that needs one a reproduction, a verdict or a reason to wait; returns how many were planned."""
    unblock(database, policy)
    waiting = _waiting(database)
    facts, logs = PlanningFacts(database, hub), LinkedLogs(database, hub)
    away = count = 0
    for claim_ids in _slices(waiting, policy):
        answers: list[Assessment] = []
        rows = _rows(database, claim_ids)
        facts.look_at_runs_of({model.weights_sha256 for _, model in rows if model.weights_sha256 is not None})
        for claim, model in rows:
            count += 1
            away = 0 if _looked_at(facts, policy, claim, model, logs, answers) else away + 1
            if away == AWAY_IN_A_ROW:
                break
        _carry_out_all(database, policy, answers)
        if away == AWAY_IN_A_ROW:
            # Each may have taken all the patience that there is for one request.
            break
    return count


def _waiting(database: Database) -> list[Row[str, str | None]]:
    """The claims whose turn it is, new ones first: their ids, and what they name as their source."""
    claims = select(Claim.claim_id, Claim.source_url)
    is_new = (Claim.state == ClaimState.SUBMITTED, or_(Claim.recheck_at.is_(None), Claim.recheck_at <= now()))
    # Two questions, each with an index of its own: with one for both, all that is blocked would be looked at.
    with database.reading() as session:
        # Logs take long to read: nobody waits behind them but those who link to one.
        by_turn = claims.where(*is_new).order_by(_may_link_to_a_log(), _priority(), Claim.created_at)
        new = session.execute(by_turn.limit(PLANNED_AT_ONCE)).all()
        is_blocked = (Claim.state == ClaimState.BLOCKED, Claim.recheck_at <= now())
        # Some have their turn however many are new.
        room = max(TOGETHER, PLANNED_AT_ONCE - len(new))
        # What a day's budget held back is all due at the same midnight, and who comes first is given what there is.
        # Whoever was looked at is due no more, and makes room for the next round's.
        is_held = budgets.waiting_for_midnight()
        by_priority = claims.where(*is_blocked, is_held).order_by(_priority(), Claim.created_at)
        held = session.execute(by_priority.limit(room)).all()
        # All others are due every few minutes, more of them perhaps than are planned meanwhile: by priority the last
        # would never have their turn.
        by_time = claims.where(*is_blocked, ~is_held).order_by(Claim.recheck_at)
        others = session.execute(by_time.limit(room)).all()
    first = held[: room - min(len(others), room // AGAIN)]
    return [*new, *first, *others[: room - len(first)]]


def _looked_at(
    facts: PlanningFacts, policy: Policy, claim: Claim, model: Model, logs: LinkedLogs, answers: list[Assessment]
) -> bool:
    """Add the answer for a claim, where there is one now; returns whether the Hub answered."""
    try:
        with about(claim_id=claim.claim_id):
            answers.append(assess(facts, policy, claim, model, logs))
    except NotNow:
        # Stays submitted: the next round tries again.
        return True
    except (NotListedYet, HiddenNow) as what:
        _put_off(facts.database, policy, claim.claim_id, str(what))
    except HubAway as error:
        _put_off(facts.database, policy, claim.claim_id, f"the Hub, which does not answer: {error}")
        return False
    except OURS as error:
        _set_aside(facts.database, policy, claim.claim_id, error)
    return True


def _slices(waiting: Sequence[Row[str, str | None]], policy: Policy) -> Iterator[list[str]]:
    """The claims that are planned in one transaction, in their order.

    Alone is one whose log may be read, which keeps nobody else waiting; and every one where there are budgets, whose
    room is reckoned anew for each.
    """
    together: list[str] = []
    for claim_id, source_url in waiting:
        alone = policy.budget != BudgetRules() or SUFFIX in (source_url or "")
        if together and (alone or len(together) == TOGETHER):
            yield together
            together = []
        together.append(claim_id)
        if alone:
            yield together
            together = []
    if together:
        yield together


def _rows(database: Database, claim_ids: Sequence[str]) -> list[tuple[Claim, Model]]:
    with database.reading() as session:
        rows = session.execute(
            select(Claim, Model).join(Model, Model.model_id == Claim.model_id).where(Claim.claim_id.in_(claim_ids))
        )
        found = {claim.claim_id: (claim, model) for claim, model in rows}
    return [found[claim_id] for claim_id in claim_ids if claim_id in found]


def _may_link_to_a_log() -> ColumnElement[bool]:
    return and_(Claim.source_url.is_not(None), Claim.source_url.contains(SUFFIX))


def _priority() -> ColumnElement[int]:
    by_submitter = case((Claim.pull_request.is_not(None), COMMUNITY_PRIORITY), else_=AUTHOR_PRIORITY)
    return func.coalesce(Claim.asked_priority, by_submitter)


def unblock(database: Database, policy: Policy) -> None:
    """Have blocked claims planned of which policy asks for no approval any more."""
    # What somebody else is changing is looked at in the next round, if it is blocked still.
    blocked = select(Claim).where(Claim.state == ClaimState.BLOCKED).limit(PLANNED_AT_ONCE)
    blocked = blocked.with_for_update(skip_locked=True)
    with database.transaction() as session:
        for claim in session.scalars(blocked.where(budgets.waiting_without_need(policy.budget)).order_by(Claim.since)):
            unblock_claim(session, claim)


def _carry_out_all(database: Database, policy: Policy, answers: Sequence[Assessment]) -> None:
    """Do what was found, in one transaction; where that meets another planner's, in one for each claim.

    Two planners that meet over one new reproduction: the loser's claim stays submitted for the next round.
    """
    if not answers:
        return
    try:
        carry_out(database, policy, answers)
    except (IntegrityError, *OURS) as error:
        if len(answers) > 1:
            for answer in answers:
                _carry_out_all(database, policy, [answer])
        elif not isinstance(error, IntegrityError):
            _set_aside(database, policy, answers[0].claim_id, error)


def _set_aside(database: Database, policy: Policy, claim_id: str, error: Exception) -> None:
    """Put a claim off for which planning is at fault, so that it holds up nobody else."""
    log.error("claim %s cannot be planned", claim_id, exc_info=error)
    words = f"{type(error).__name__} while it was planned, which the control worker's log tells of"
    _put_off(database, policy, claim_id, f"the farm's operator: {words}")


def _put_off(database: Database, policy: Policy, claim_id: str, whom: str) -> None:
    """Say whom a submitted claim waits for; and no longer than a reproduction would wait for a worker."""
    with database.transaction() as session:
        claim = session.get_one(Claim, claim_id, with_for_update=True)
        if claim.state == ClaimState.BLOCKED and claim.recheck_at is not None:
            # It waits for what it waited for.
            claim.recheck_at = now() + RECHECK
        if claim.state != ClaimState.SUBMITTED:
            return
        # No change of state, and so no event: it would be one for each claim and half minute.
        claim.reason = clean(f"waits for {whom}", MAX_REASON_CHARS)
        claim.recheck_at = now() + HUB_RETRY
        if now() - claim.since > timedelta(seconds=policy.run.queue_seconds):
            late = f"it could not be planned within {policy.run.queue_seconds:.0f} s; it waited for {whom}"
            give_verdict(session, claim, Verdict(outcome=Outcome.FAILED, reason=clean(late, 2000), comparison=None))
