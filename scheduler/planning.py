"""Claims become reproductions: one for all claims of the same weights, task, spec and settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select, update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from scheduler import budgets
from scheduler.admission import (
    BenchmarkFacts,
    Blocked,
    ClaimFacts,
    ModelFacts,
    Refused,
    Rules,
    Run,
    admit,
    foresee,
)
from scheduler.comparing import judge_claim
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model, Reproduction, new_id, now
from scheduler.foreseeing import KnownSamples
from scheduler.freshness import Shared, is_shared, stop_taking_claims
from scheduler.hub import Hub
from scheduler.linking import SUFFIX, LinkedLogs, NotNow
from scheduler.machine import ClaimState, ReproductionState
from scheduler.placement import Placement
from scheduler.planning_facts import PlanningFacts
from scheduler.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY
from scheduler.record import MAX_REASON_CHARS, SCHEDULER, add_event, block_claim, give_verdict, hold_claim, move_claim
from specs.budget import BudgetRules
from specs.cost import Estimate, Work, estimate
from specs.errors import HubAway, NoAccess
from specs.forecast import Foreseen, in_short, samples_if_true
from specs.linked_log import LinkedLogReading
from specs.log_lines import about
from specs.model_size import ModelSize
from specs.policy import Policy
from specs.text import clean
from specs.verdict import Outcome, Verdict

log = logging.getLogger(__name__)

PLANNED_AT_ONCE = 500

TOGETHER = 50
"""Claims planned in one transaction: most of its cost is the commit, and others wait for its rows for so long."""

AWAY_IN_A_ROW = 3
"""Claims for which the Hub did not answer before a round ends: it is not about them."""

HUB_RETRY = timedelta(seconds=30)
"""Until a claim for which the Hub did not answer is looked at again; meanwhile others have their turn."""

OURS = (ArithmeticError, AttributeError, DataError, LookupError, TypeError, ValueError)
"""What a flaw of planning itself may raise over one claim."""


@dataclass(frozen=True)
class _Answer:
    """What is to be done about a claim, and what that rests on."""

    claim_id: str
    model_id: str
    found: Run | Blocked | Refused
    benchmark: BenchmarkFacts | None = None
    foreseen: Foreseen | None = None
    known: KnownSamples | None = None
    cost: Estimate | None = None
    reading: LinkedLogReading | None = None
    held: bool = False


def plan(database: Database, hub: Hub, policy: Policy) -> int:
    """Give every claim that needs one a reproduction, a verdict or a reason to wait; returns how many were planned."""
    unblock(database, policy)
    with database.reading() as session:
        waiting = session.execute(
            select(Claim.claim_id, Claim.source_url)
            .where(Claim.state == ClaimState.SUBMITTED, or_(Claim.recheck_at.is_(None), Claim.recheck_at <= now()))
            # Logs take long to read: nobody waits behind them but those who link to one.
            .order_by(_may_link_to_a_log(), _priority(), Claim.created_at)
            .limit(PLANNED_AT_ONCE)
        ).all()
    facts, logs = PlanningFacts(database, hub), LinkedLogs(hub)
    away = count = 0
    for claim_ids in _slices(waiting, policy):
        answers: list[_Answer] = []
        for claim, model in _rows(database, claim_ids):
            count += 1
            away = 0 if _looked_at(facts, policy, claim, model, logs, answers) else away + 1
            if away == AWAY_IN_A_ROW:
                break
        _carry_out_all(database, policy, answers)
        if away == AWAY_IN_A_ROW:
            # Each may have taken all the patience that there is for one request.
            break
    return count


def _looked_at(
    facts: PlanningFacts, policy: Policy, claim: Claim, model: Model, logs: LinkedLogs, answers: list[_Answer]
) -> bool:
    """Add the answer for a claim, where there is one now; returns whether the Hub answered."""
    try:
        with about(claim_id=claim.claim_id):
            answers.append(_answer(facts, policy, claim, model, logs))
    except NotNow:
        # Stays submitted: the next round tries again.
        return True
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
    """Have blocked claims planned again when it is time to look, or policy asks for no approval any more."""
    blocked = select(Claim).where(Claim.state == ClaimState.BLOCKED).limit(PLANNED_AT_ONCE)
    with database.transaction() as session:
        # Two questions, each with an index of its own: with one for both, all that is blocked would be looked at.
        for query in (
            blocked.where(Claim.recheck_at <= now()).order_by(Claim.recheck_at),
            blocked.where(budgets.waiting_without_need(policy.budget)).order_by(Claim.since),
        ):
            for claim in session.scalars(query):
                move_claim(session, claim, ClaimState.SUBMITTED, f"looks again whether it still {claim.reason}")


def _answer(facts: PlanningFacts, policy: Policy, claim: Claim, model: Model, logs: LinkedLogs) -> _Answer:
    """What to do about one claim. The Hub is asked here, so that no transaction waits for it.

    Raises:
        HubAway: the Hub did not answer.
        NotNow: this round has read logs for long enough.
    """
    benchmark = None
    said = _claim_facts(claim)
    try:
        benchmark = facts.benchmark(said.dataset_id, claim.dataset_revision)
        found = _admit(facts, policy, claim, model, benchmark)
        rules = found.rules if isinstance(found, Run) else None
        foreseen = foresee(said, benchmark, policy, rules)
        known = facts.samples(said.dataset_id, foreseen) if foreseen is not None else None
        cost = _cost(facts, claim, model, found, foreseen, known)
        # A log is not read for a claim that will not be run today.
        held = _is_held(facts.database, policy, claim, found, cost)
        reading = None if held else _linked_log(policy, claim, found, logs)
    except NoAccess as error:
        blocked = Blocked(f"{error}; the farm's operator must be given access")
        foreseen = foresee(said, benchmark, policy) if benchmark is not None else None
        return _Answer(claim.claim_id, claim.model_id, blocked, benchmark, foreseen)
    return _Answer(claim.claim_id, claim.model_id, found, benchmark, foreseen, known, cost, reading, held)


def _carry_out_all(database: Database, policy: Policy, answers: Sequence[_Answer]) -> None:
    """Do what was found, in one transaction; where that meets another planner's, in one for each claim.

    Two planners that meet over one new reproduction: the loser's claim stays submitted for the next round.
    """
    if not answers:
        return
    try:
        _carry_out_together(database, policy, answers)
    except (IntegrityError, *OURS) as error:
        if len(answers) > 1:
            for answer in answers:
                _carry_out_all(database, policy, [answer])
        elif not isinstance(error, IntegrityError):
            _set_aside(database, policy, answers[0].claim_id, error)


def _carry_out_together(database: Database, policy: Policy, answers: Sequence[_Answer]) -> None:
    with database.transaction() as session:
        # In one order, as everybody who locks several rows.
        in_order = sorted(answer.claim_id for answer in answers)
        rows = select(Claim).where(Claim.claim_id.in_(in_order)).order_by(Claim.claim_id).with_for_update()
        # Another planner, or a withdrawal, may have come first.
        claims = {row.claim_id: row for row in session.scalars(rows) if row.state == ClaimState.SUBMITTED}
        answers = [answer for answer in answers if answer.claim_id in claims]
        # Reads them at once; each is then at hand.
        models = session.scalars(select(Model).where(Model.model_id.in_({each.model_id for each in answers}))).all()
        by_id = {model.model_id: model for model in models}
        shared = Shared(session, {each.found.key for each in answers if isinstance(each.found, Run)})
        new = [
            made
            for answer in answers
            if (made := _carry_out(session, policy, claims[answer.claim_id], by_id[answer.model_id], answer, shared))
        ]
        if new:
            session.flush()
            _wake_alike(session, new)


def _set_aside(database: Database, policy: Policy, claim_id: str, error: Exception) -> None:
    """Put a claim off for which planning is at fault, so that it holds up nobody else."""
    log.error("claim %s cannot be planned", claim_id, exc_info=error)
    words = f"{type(error).__name__} while it was planned, which the control worker's log tells of"
    _put_off(database, policy, claim_id, f"the farm's operator: {words}")


def _put_off(database: Database, policy: Policy, claim_id: str, whom: str) -> None:
    """Say whom a submitted claim waits for; and no longer than a reproduction would wait for a worker."""
    with database.transaction() as session:
        claim = session.get_one(Claim, claim_id, with_for_update=True)
        if claim.state != ClaimState.SUBMITTED:
            return
        # No change of state, and so no event: it would be one for each claim and half minute.
        claim.reason = clean(f"waits for {whom}", MAX_REASON_CHARS)
        claim.recheck_at = now() + HUB_RETRY
        if now() - claim.since > timedelta(seconds=policy.run.queue_seconds):
            late = f"it could not be planned within {policy.run.queue_seconds:.0f} s; it waited for {whom}"
            give_verdict(session, claim, Verdict(outcome=Outcome.FAILED, reason=clean(late, 2000), comparison=None))


def _admit(
    facts: PlanningFacts, policy: Policy, claim: Claim, model: Model, benchmark: BenchmarkFacts
) -> Run | Blocked | Refused:
    if model.weights_sha256 is None:
        return Blocked("waits for a look at the model's files")
    of_model = ModelFacts(model.weights_sha256, _size(model), model.gated)
    said, has_token = _claim_facts(claim), bool(facts.hub.api.token)
    answer = admit(said, benchmark, of_model, policy, has_token=has_token)
    if not isinstance(answer, Run):
        return answer
    if benchmark.revision is None or model.weights_bytes is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without a pinned spec or weights")
    # Only now it is known how and where it would run, and so which noise is its own.
    spread = facts.spread(
        said.dataset_id, benchmark.revision, answer.task_id, answer.settings, model.weights_bytes, answer.pool.name
    )
    if spread is None:
        return answer
    return admit(said, replace(benchmark, spread=spread), of_model, policy, has_token=has_token)


def _size(model: Model) -> ModelSize | None:
    if model.size is not None:
        return ModelSize.model_validate(model.size, strict=False)
    if model.weights_bytes is None:
        return None
    return ModelSize.of_files(model.weights_bytes, "its config.json was not looked at yet")


def _linked_log(
    policy: Policy, claim: Claim, answer: Run | Blocked | Refused, logs: LinkedLogs
) -> LinkedLogReading | None:
    """What the log says that a claim links to, if the claim is run and policy has such logs read."""
    facts = _claim_facts(claim)
    if not isinstance(answer, Run) or not policy.rules_for(facts.dataset_id, answer.task_id).linked_logs:
        return None
    return logs.read(claim, facts.value, answer.rules.scale)


def _claim_facts(claim: Claim) -> ClaimFacts:
    if claim.dataset_id is None or claim.value is None:
        raise ValueError(f"claim {claim.claim_id} is {claim.state} without a dataset or a value")
    return ClaimFacts(
        claim.model_id,
        claim.dataset_id,
        claim.task_id,
        claim.value,
        claim.pull_request is not None,
        claim.asked_priority,
    )


def _cost(
    facts: PlanningFacts,
    claim: Claim,
    model: Model,
    answer: Run | Blocked | Refused,
    foreseen: Foreseen | None,
    known: KnownSamples | None,
) -> Estimate | None:
    """What a reproduction for the claim alone is taken to cost; None where it is not run."""
    if not isinstance(answer, Run) or foreseen is None:
        return None
    if model.weights_bytes is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without weights")
    earlier = facts.costs(_claim_facts(claim).dataset_id, answer.task_id, model.weights_bytes, answer.pool.name)
    work = Work(
        weights_bytes=model.weights_bytes,
        gpus=answer.pool.gpus,
        samples=samples_if_true(foreseen, known.samples) if known is not None else None,
        epochs=foreseen.epochs,
        max_tokens=answer.settings.generation.max_tokens,
        concurrency=answer.settings.engine.concurrency,
        read_part=_read_part(model, answer.settings.engine.concurrency),
    )
    return estimate(work, earlier)


def _read_part(model: Model, concurrency: int) -> float:
    size = _size(model)
    experts = size.config.experts if size is not None and size.config is not None else None
    return experts.part_read(concurrency) if experts is not None else 1.0


def _is_held(
    database: Database, policy: Policy, claim: Claim, answer: Run | Blocked | Refused, cost: Estimate | None
) -> bool:
    """Whether the budget seems to hold the claim back; what counts is asked again where it is planned."""
    if not isinstance(answer, Run) or cost is None or policy.budget == BudgetRules():
        return False
    with database.reading() as session:
        needs_run = not is_shared(session, answer.key, claim.fresh_after)
        return needs_run and budgets.held_back(session, policy.budget, claim, cost, now()) is not None


def _wait(
    session: Session, policy: Policy, claim: Claim, run: Run, cost: Estimate, shared: Shared
) -> budgets.Held | None:
    """Why the claim has to wait, as nobody else can change it before the transaction ends. A run it joins is free."""
    if policy.budget == BudgetRules() or shared.find(run.key, claim.fresh_after) is not None:
        return None
    budgets.take_turn(session, policy.budget)
    # The turn may have come after another's transaction, which planned that very run.
    shared.look_again([run.key])
    if shared.find(run.key, claim.fresh_after) is not None:
        return None
    return budgets.held_back(session, policy.budget, claim, cost, now())


def _carry_out(
    session: Session, policy: Policy, claim: Claim, model: Model, answer: _Answer, shared: Shared
) -> Reproduction | None:
    """Do what was found about one claim; returns the reproduction that it needed, if that is a new one."""
    found = answer.found
    claim.foreseen = answer.foreseen.model_dump(mode="json") if answer.foreseen is not None else None
    if isinstance(found, Run) and answer.cost is not None:
        claim.gpu_seconds, claim.gpu_seconds_basis = answer.cost.gpu_seconds, answer.cost.basis
        wait = _wait(session, policy, claim, found, answer.cost, shared)
        if wait is not None:
            claim.run_key = found.key
            hold_claim(session, claim, wait.reason, wait.until)
        if wait is not None or answer.held:
            # Room that came since: the next round plans it, log and all.
            return None
    if answer.reading is not None:
        claim.linked_log = answer.reading.model_dump(mode="json")
    if isinstance(found, Refused):
        give_verdict(session, claim, Verdict(outcome=Outcome.UNSUPPORTED, reason=found.reason, comparison=None))
        return None
    if isinstance(found, Blocked):
        block_claim(session, claim, found.reason)
        return None
    return _join_or_make(session, claim, model, answer, found, shared)


def _join_or_make(
    session: Session, claim: Claim, model: Model, answer: _Answer, run: Run, shared: Shared
) -> Reproduction | None:
    joined = _joined(session, claim, run, shared)
    reproduction = joined or _new(session, claim, model, answer.benchmark, run, shared)
    claim.rules = run.rules.model_dump(mode="json")
    claim.reproduction_id = reproduction.reproduction_id
    words = _how_judged(run.rules, reproduction)
    if answer.foreseen is not None and answer.known is not None:
        words = f"{words}; {in_short(answer.foreseen, answer.known.samples)}"
    move_claim(session, claim, ClaimState.PLANNED, words)
    if reproduction.state == ReproductionState.COMPLETED:
        judge_claim(session, claim, reproduction)
    return reproduction if joined is None else None


def _how_judged(rules: Rules, reproduction: Reproduction) -> str:
    words = f"judged by reproduction {reproduction.reproduction_id}"
    if rules.tolerance is None or rules.tolerance_source != "measured":
        return words
    return f"{words}; tolerance {100 * rules.tolerance:.2f} points, measured on {rules.spread_source}"


def _joined(session: Session, claim: Claim, run: Run, shared: Shared) -> Reproduction | None:
    """The reproduction that answers for this claim too, if any: it takes further claims, or ran every sample."""
    found = shared.find(run.key, claim.fresh_after)
    if found is not None and run.priority < found.priority:
        found.priority = run.priority
        why = f"claim {claim.claim_id} needs it sooner"
        add_event(session, SCHEDULER, "reproduction", found.reproduction_id, "priority", why)
    return found


def _new(
    session: Session, claim: Claim, model: Model, benchmark: BenchmarkFacts | None, run: Run, shared: Shared
) -> Reproduction:
    if benchmark is None or benchmark.spec is None or benchmark.revision is None or model.revision is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without a pinned spec and model")
    if model.weights_sha256 is None or model.weights_bytes is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without weights")
    at = now()
    reproduction = Reproduction(
        reproduction_id=new_id(),
        key=run.key,
        model_id=claim.model_id,
        model_revision=model.revision,
        weights_sha256=model.weights_sha256,
        weights_bytes=model.weights_bytes,
        dataset_id=claim.dataset_id,
        dataset_revision=benchmark.revision,
        task_id=run.task_id,
        spec_sha256=benchmark.spec.sha256,
        settings=run.settings.model_dump(mode="json"),
        pool=run.pool.name,
        priority=run.priority,
        caused_by=claim.claim_id,
        submitter=claim.submitter,
        community=claim.pull_request is not None,
        gpu_seconds=claim.gpu_seconds,
        asked_anew=claim.fresh_after is not None,
        state=ReproductionState.QUEUED,
        joinable=True,
        complete=False,
        created_at=at,
        since=at,
    )
    if claim.fresh_after is not None:
        stop_taking_claims(session, run.key, claim.fresh_after)
    session.add(reproduction)
    shared.add(reproduction)
    add_event(session, SCHEDULER, "reproduction", reproduction.reproduction_id, "queued", _where(run.placement))
    return reproduction


def _where(placement: Placement) -> str:
    return clean(f"planned for {placement.pool.name}, {placement.words}", MAX_REASON_CHARS)


def _wake_alike(session: Session, new: Sequence[Reproduction]) -> None:
    """Have claims that a budget holds back looked at again where new runs answer them too, at no cost."""
    # Rows that another transaction holds are left to it: waiting for one another could go in a circle.
    keys = [reproduction.key for reproduction in new]
    alike = select(Claim.claim_id).where(Claim.run_key.in_(keys), Claim.state == ClaimState.BLOCKED)
    session.execute(
        update(Claim)
        .where(Claim.claim_id.in_(alike.with_for_update(skip_locked=True)))
        .values(recheck_at=now())
        .execution_options(synchronize_session=False)
    )
