"""Stale verdicts are verified again by the farm itself, where policy wants that: a few at a time, after all others."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, false, func, or_, select, true
from sqlalchemy.orm import aliased

from scheduler.admission.priorities import PERIODIC_PRIORITY
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, Reproduction, now
from scheduler.record import SCHEDULER
from scheduler.requests.locking import lock
from scheduler.requests.reverifying import ask_for, asked_of_same_score, asked_together
from scheduler.state_machine import ClaimState, ReproductionState
from specs.errors import InterventionError
from specs.judging.staleness import READ_AS
from specs.policy.reverify import ReverifyRules

OPEN = (ClaimState.SUBMITTED, ClaimState.PLANNED, ClaimState.BLOCKED)


def repeat_stale(database: Database, rules: ReverifyRules) -> int:
    """Have the longest stale claims verified again, as far as policy has room; returns how many."""
    count = 0
    for claim_id in _due(database, rules):
        with database.transaction() as session:
            claim = lock(session, claim_id)
            # An author's change, or somebody's request, may have come first.
            if claim.state == ClaimState.DECIDED and claim.stale_reason is not None:
                # The score may have been run again for another entry.
                with suppress(InterventionError):
                    ask_for(session, claim, claim.stale_reason, SCHEDULER, PERIODIC_PRIORITY, rules=rules)
                    count += 1
    return count


def _due(database: Database, rules: ReverifyRules) -> list[str]:
    if not rules.on_change and rules.after_days is None:
        return []
    again, its_run = aliased(Claim), aliased(Reproduction)
    lately = now() - timedelta(seconds=rules.cooldown_seconds)
    with database.reading() as session:
        under_way = session.scalar(
            select(func.count()).where(Claim.asked_priority == PERIODIC_PRIORITY, Claim.state.in_(OPEN))
        )
        room = rules.at_once - (under_way or 0)
        if room <= 0:
            return []
        return list(
            session.scalars(
                select(Claim.claim_id)
                .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
                .outerjoin(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
                .where(
                    Claim.state == ClaimState.DECIDED,
                    Claim.stale_since.is_not(None),
                    _wanted(rules),
                    # Refused by `ask_for`; they would take the places of others.
                    ~exists().where(Benchmark.dataset_id == Claim.dataset_id, Benchmark.unlisted_at.is_not(None)),
                    ~exists().where(again.slot == Claim.slot, again.fresh_after > lately),
                    ~exists().where(
                        again.reproduction_id == its_run.reproduction_id,
                        again.fresh_after > lately,
                        asked_of_same_score(again, its_run, Claim, Reproduction),
                    ),
                    ~_own_run_answers(rules, lately),
                )
                .order_by(Claim.stale_since, Claim.claim_id)
                .limit(room)
            )
        )


def _wanted(rules: ReverifyRules) -> ColumnElement[bool]:
    return true() if rules.on_change else _are_old(rules)


def _own_run_answers(rules: ReverifyRules, lately: datetime) -> ColumnElement[bool]:
    """Whether their own run would answer them again (`answered_until`): what changed is another thing to measure."""
    again, its_run = aliased(Claim), aliased(Reproduction)
    return exists().where(
        or_(_are_old(rules), Claim.stale_reason.startswith(READ_AS)),
        again.reproduction_id == its_run.reproduction_id,
        again.fresh_after > lately,
        again.fresh_after <= Reproduction.created_at,
        its_run.created_at > lately,
        its_run.state != ReproductionState.FAILED,
        its_run.seed.is_not(None),
        asked_together(again, its_run, Claim, Reproduction),
    )


def _are_old(rules: ReverifyRules) -> ColumnElement[bool]:
    if rules.after_days is None:
        return false()
    return Badge.signed_at <= now() - timedelta(days=rules.after_days)
