"""How attempts end without a measurement, and what becomes of their reproduction and its claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from scheduler.collect.resuming import HANDED_BACK, IN_A_ROW, JUDGE_WENT_AWAY, without_progress
from scheduler.collect.retrying import (
    BLOCKING,
    CONSEQUENCES,
    LONGEST_RETRY_SECONDS,
    Consequence,
    blocked_for,
    engine_in_words,
    is_deadly,
    next_try_seconds,
    retry_delay_seconds,
    smaller,
)
from scheduler.collect.waiting_claims import waiting_for
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.planning.begun_again import is_begun_again
from scheduler.record import MAX_REASON_CHARS, block_claim, give_verdict, move_reproduction
from scheduler.state_machine import ReproductionState
from scheduler.stored_values import settings_of
from specs.judging.verdict import Outcome, Verdict
from specs.messages import AttemptOutcome, Stage
from specs.policy.rules import Policy

DEADLY = (Stage.STARTING_ENGINE, Stage.RUNNING)
"""What an attempt is at when a worker's death may be its doing."""

AT_THE_ENGINE = (*DEADLY, Stage.STORING)
"""What it is at once it has held an engine, or begun to."""

BY_THE_OWNER = (AttemptOutcome.NO_ACCESS, AttemptOutcome.MODEL_FAILED, AttemptOutcome.SPEC_FAILED)
"""How an attempt ends, before it comes to its engine, where a repo was closed or its commit taken away."""

MOST_BLOCKED = 10
"""Runs of one key that are looked at: after so many in a row the wait is the longest."""


def end_attempt(
    session: Session,
    policy: Policy,
    reproduction: Reproduction,
    outcome: AttemptOutcome,
    detail: str,
    *,
    retry_after_seconds: float | None = None,
) -> None:
    """End the current attempt of a reproduction without a measurement, and draw the consequence.

    The first line of `detail` becomes the reason that people read everywhere; the rest, which is what the engine last
    said, stays with the attempt.
    """
    if outcome is AttemptOutcome.DISK_FULL:
        detail = f"the farm's operator must free space for {_whose_disk(reproduction)}: {detail}"[:MAX_REASON_CHARS]
    if outcome is AttemptOutcome.LOST:
        detail = _with_last_lines(session, reproduction, detail)
    close(session, reproduction, outcome, detail)
    consequence = CONSEQUENCES[outcome]
    said = _first_line(detail)
    why = f"attempt {reproduction.attempt}: {outcome}: {said}"
    if consequence is Consequence.RETRY:
        reproduction.failures += 1
        deaths = [each for each in reproduction.attempts if _is_death(each)]
        pause = next_try_seconds(outcome, reproduction.failures, len(deaths), policy.run)
        if pause is not None:
            _again(session, reproduction, f"after {why}", pause)
        elif is_deadly(outcome, len(deaths), policy.run):
            deadly = _given_up(deaths)
            _end(session, reproduction, Consequence.GIVE_UP, deadly, deadly)
        else:
            _end(session, reproduction, consequence, why, f"{outcome}: {said}")
    elif consequence is Consequence.WAIT:
        _wait(session, policy, reproduction, outcome, said, retry_after_seconds or 0.0)
    elif consequence is Consequence.SMALLER:
        _smaller(session, policy, reproduction, detail)
    else:
        _end(session, reproduction, consequence, why, f"{outcome}: {said}")


def hand_back(session: Session, policy: Policy, reproduction: Reproduction, worker: str, detail: str) -> None:
    """End the current attempt, which its worker gives back as it was told to stop: again at once, and nobody's failure.

    One that comes back again and again and gets nowhere has to wait ever longer, and ends after `queue_seconds`.
    So does one that comes back very often: how far it got is no more than its worker's word.
    """
    attempt = close(session, reproduction, AttemptOutcome.HANDED_BACK, detail)
    attempt.worker = worker
    why = f"attempt {reproduction.attempt} was handed back by worker {worker}: {detail}"
    idle = without_progress(reproduction)
    handed_back = [each for each in reversed(reproduction.attempts) if each.outcome == AttemptOutcome.HANDED_BACK]
    if len(handed_back) > HANDED_BACK:
        vain, told = handed_back, "handed back"
    else:
        vain, told = idle, "handed back without an answer more"
    if _for_too_long(vain, policy):
        _end(session, reproduction, Consequence.GIVE_UP, why, f"{told}, {_in_vain(vain, policy)}: {detail}")
        return
    often = max(_times(idle, AttemptOutcome.HANDED_BACK) - IN_A_ROW, len(handed_back) - HANDED_BACK)
    if often > 0:
        _again(session, reproduction, why, retry_delay_seconds(often))
        return
    move_reproduction(session, reproduction, ReproductionState.QUEUED, why, f"worker:{worker}")
    reproduction.not_before = None


def queue_again(session: Session, policy: Policy, reproduction: Reproduction, why: str) -> None:
    """End the attempt at what was sent to a worker that did not take it. No failure, and at once for another.

    A worker that takes nothing may get it again and again: then it is sent ever more seldom, and not for ever.
    """
    _not_begun(session, policy, reproduction, why, at_once=IN_A_ROW, ever=f"{why}; the farm's operator must act")


def message_lost(session: Session, policy: Policy, reproduction: Reproduction) -> None:
    """End the attempt at what was sent out, whose message is gone, and of which no worker has said a word.

    A broker that lost it loses others too, so it is sent again at once. But a worker that cannot read it (another
    version), or that crashes on it, may have taken it. If that repeats, it is sent again at growing intervals, and in
    the end given up.
    """
    why = "its message is not in the broker any more, and no worker took it"
    ever = f"{why}. One that cannot read it, or dies of it, says so in its log; the farm's operator must act"
    _not_begun(session, policy, reproduction, why, at_once=1, ever=ever)


def give_up(session: Session, reproduction: Reproduction, why: str) -> None:
    """End a reproduction that waits in the queue; its claims fail for that reason."""
    _end(session, reproduction, Consequence.GIVE_UP, why, why)


def close(session: Session, reproduction: Reproduction, outcome: AttemptOutcome, detail: str) -> Attempt:
    """Enter how the current attempt ended."""
    attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
    end(attempt, outcome, detail)
    return attempt


def end(attempt: Attempt, outcome: AttemptOutcome, detail: str) -> None:
    """Enter how an attempt ended."""
    attempt.ended_at, attempt.outcome, attempt.detail = now(), outcome, detail
    attempt.report = None


def _not_begun(
    session: Session, policy: Policy, reproduction: Reproduction, why: str, *, at_once: int, ever: str
) -> None:
    """End an attempt that no worker began; the first few of them `at_once` again, and after `queue_seconds` for ever.

    Each is a new attempt, which waits anew: no deadline of a single wait ends that.
    """
    close(session, reproduction, AttemptOutcome.INTERRUPTED, why)
    idle = without_progress(reproduction)
    often = sum(each.outcome == AttemptOutcome.INTERRUPTED and each.worker is None for each in idle)
    if _for_too_long(idle, policy):
        told = f"no worker of pool {reproduction.pool} began it, {_in_vain(idle, policy)}: {ever}"
        _end(session, reproduction, Consequence.GIVE_UP, told, told)
    elif often > at_once:
        _again(session, reproduction, f"{why}; so for {often} attempts", retry_delay_seconds(often - at_once))
    else:
        move_reproduction(session, reproduction, ReproductionState.QUEUED, why)


def _wait(
    session: Session,
    policy: Policy,
    reproduction: Reproduction,
    outcome: AttemptOutcome,
    said: str,
    asked_seconds: float,
) -> None:
    """Try again, ever more seldom; but not for ever, as nothing in the farm goes on without a deadline."""
    # Whatever it was each time: two workers, of which one has no disk left and the other's device is busy, hand it to
    # one another.
    waits = without_progress(reproduction)
    # A judge that comes and goes has an engine started each time, for a few answers more or its worker's word of them.
    alike = list(takewhile(lambda each: each.outcome == outcome, reversed(reproduction.attempts)))
    # Both are the latest attempts, so the longer one goes further back.
    vain = max(waits, alike if len(alike) > JUDGE_WENT_AWAY else [], key=len)
    why = f"attempt {reproduction.attempt}: {outcome}: {said}"
    if _for_too_long(vain, policy):
        _end(session, reproduction, Consequence.GIVE_UP, why, f"{outcome}: {_in_vain(vain, policy)}: {said}")
    else:
        # A worker says it, so it parks nothing for longer than an hour.
        asked_seconds = min(asked_seconds, LONGEST_RETRY_SECONDS)
        delay_seconds = max(asked_seconds, retry_delay_seconds(max(_times(waits, outcome), len(alike))))
        _again(session, reproduction, f"after {why}", delay_seconds)


def _smaller(session: Session, policy: Policy, reproduction: Reproduction, detail: str) -> None:
    """Try once more with an engine that needs less memory; what does not fit then does not fit this pool."""
    settings = settings_of(reproduction)
    tried = engine_in_words(settings.engine)
    current = reproduction.attempts[-1]
    current.detail = f"with {tried}: {detail}"[:MAX_REASON_CHARS]
    short = [each for each in reproduction.attempts if each.outcome == AttemptOutcome.OUT_OF_MEMORY]
    less = smaller(settings.engine)
    told = f"attempt {current.number} {_first_line(current.detail)}"
    if len(short) == 1 and less != settings.engine:
        reproduction.settings = {**reproduction.settings, "engine": less.model_dump(mode="json")}
        why = f"now with {engine_in_words(less)}, after out_of_memory: {told}"
        _again(session, reproduction, why, retry_delay_seconds(1))
        return
    before = "".join(f"attempt {each.number} {_first_line(each.detail)}; " for each in short[:-1])
    why = (
        f"out_of_memory: the model did not fit {_pool_in_words(policy, reproduction.pool)}; the farm's operator can "
        f"help with a pool of more memory. {before}{told}"
    )
    _end(session, reproduction, Consequence.GIVE_UP, why, why)


def _again(session: Session, reproduction: Reproduction, why: str, delay_seconds: float) -> None:
    move_reproduction(session, reproduction, ReproductionState.QUEUED, f"again in {delay_seconds:.0f} s, {why}")
    reproduction.not_before = reproduction.since + timedelta(seconds=delay_seconds)


def _end(session: Session, reproduction: Reproduction, consequence: Consequence, why: str, reason: str) -> None:
    """End a reproduction, and tell the claims that wait for it that it will not judge them, and for what reason."""
    cancelled = consequence is Consequence.NOTHING or _is_begun_as_it_was(session, reproduction)
    ended = ReproductionState.CANCELLED if cancelled else ReproductionState.FAILED
    move_reproduction(session, reproduction, ended, why)
    if consequence is Consequence.BLOCK and not any(each.stage in AT_THE_ENGINE for each in reproduction.attempts):
        # It took no GPU's time, and is planned again whenever the claim is looked at: each would count for the day.
        reproduction.gpu_seconds = None
    outcome = Outcome.UNSUPPORTED if consequence is Consequence.UNSUPPORTED else Outcome.FAILED
    after = blocked_for(_blocked_in_a_row(session, reproduction)) if consequence is Consequence.BLOCK else None
    for claim in waiting_for(session, reproduction.reproduction_id):
        if after is not None:
            block_claim(session, claim, reason, after)
            # Where another claim has that run again, it waits no longer.
            claim.run_key = reproduction.key
        else:
            give_verdict(session, claim, Verdict(outcome=outcome, reason=reason[:MAX_REASON_CHARS], comparison=None))


def _is_begun_as_it_was(session: Session, reproduction: Reproduction) -> bool:
    """Whether a run that had come to an engine had all its time there, or was kept from the next by a repo's owner.

    They may have seen how it went, and how long answers are is the model's doing: like one that was cancelled under way
    it is begun again as it was. So is one that was begun again, however often they take a repo away.
    """
    latest = reproduction.attempts[-1] if reproduction.attempts else None
    if latest is None:
        return False
    if latest.stage in AT_THE_ENGINE:
        return latest.outcome == AttemptOutcome.TIMED_OUT
    if latest.outcome not in BY_THE_OWNER:
        return False
    if any(each.stage in AT_THE_ENGINE for each in reproduction.attempts):
        return True
    this = select(Reproduction.reproduction_id).where(Reproduction.reproduction_id == reproduction.reproduction_id)
    return session.scalar(this.where(is_begun_again())) is not None


def _blocked_in_a_row(session: Session, reproduction: Reproduction) -> int:
    """How many of the latest runs of its key ended as something that somebody has to act on, itself among them."""
    session.flush()
    latest = (
        select(Attempt.outcome)
        .select_from(Reproduction)
        .outerjoin(
            Attempt,
            and_(Attempt.reproduction_id == Reproduction.reproduction_id, Attempt.number == Reproduction.attempt),
        )
        .where(
            # The first two follow from the key, and have an index.
            Reproduction.weights_sha256 == reproduction.weights_sha256,
            Reproduction.dataset_id == reproduction.dataset_id,
            Reproduction.key == reproduction.key,
        )
        .order_by(Reproduction.created_at.desc())
        .limit(MOST_BLOCKED)
    )
    return len(list(takewhile(lambda outcome: outcome in BLOCKING, session.scalars(latest))))


def _for_too_long(waits: Sequence[Attempt], policy: Policy) -> bool:
    """Whether attempts, latest first, came to nothing for longer than anything waits."""
    return bool(waits) and now() - waits[-1].dispatched_at > timedelta(seconds=policy.run.queue_seconds)


def _in_vain(waits: Sequence[Attempt], policy: Policy) -> str:
    kinds = list(dict.fromkeys(str(each.outcome) for each in reversed(waits)))
    found = f"so for {policy.run.queue_seconds:.0f} s and {len(waits)} attempts"
    return found if len(kinds) == 1 else f"{found} ({', '.join(kinds)})"


def _times(waits: Sequence[Attempt], outcome: AttemptOutcome) -> int:
    return sum(each.outcome == outcome for each in waits)


def _is_death(attempt: Attempt) -> bool:
    """Whether a worker died while an engine worked, or was being started, for this attempt."""
    return attempt.outcome == AttemptOutcome.LOST and attempt.stage in DEADLY


def _given_up(deaths: Sequence[Attempt]) -> str:
    died = "a worker" if len(deaths) == 1 else f"{len(deaths)} workers"
    who = ", ".join(f"attempt {each.number} on {each.worker}" for each in deaths)
    last = next((each.detail for each in reversed(deaths) if each.detail), "")
    return f"given up: it was running when {died} died ({who}); the farm's operator must look into it. {last}"


def _with_last_lines(session: Session, reproduction: Reproduction, detail: str) -> str:
    """What is said of a lost attempt, and what its engine last said."""
    attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
    return f"{detail}; its engine's last lines:\n{attempt.detail}" if attempt.detail else detail


def _whose_disk(reproduction: Reproduction) -> str:
    return f"worker {reproduction.worker}" if reproduction.worker else f"a worker of pool {reproduction.pool}"


def _pool_in_words(policy: Policy, name: str) -> str:
    pool = next((pool for pool in policy.pools if pool.name == name), None)
    return f"pool {name}" if pool is None else f"pool {name} ({pool.capacity_gib:g} GiB)"


def _first_line(detail: str | None) -> str:
    return (detail or "").partition("\n")[0]
