"""Claims become reproductions: one for all claims of the same weights, task, spec and settings."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from scheduler import budgets, noise
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
from scheduler.database.tables import Benchmark, Claim, Model, Reproduction, SpecFile, now
from scheduler.foreseeing import KnownSamples, earlier_costs, known_samples
from scheduler.freshness import find_shared, stop_taking_claims
from scheduler.hub import Hub, Missing
from scheduler.linking import SUFFIX, LinkedLogs, NotNow
from scheduler.machine import ClaimState, ReproductionState
from scheduler.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY
from scheduler.record import MAX_REASON_CHARS, SCHEDULER, add_event, block_claim, give_verdict, hold_claim, move_claim
from scheduler.watch.benchmarks import spec_text
from specs import eval_yaml
from specs.budget import BudgetRules
from specs.cost import Estimate, Work, estimate
from specs.errors import HubAway, NoAccess
from specs.forecast import Foreseen, in_short, samples_if_true
from specs.linked_log import LinkedLogReading
from specs.log_lines import about
from specs.noise import MeasuredSpread
from specs.policy import Policy
from specs.text import clean
from specs.verdict import Outcome, Verdict

PLANNED_AT_ONCE = 500

AWAY_IN_A_ROW = 3
"""Claims for which the Hub did not answer before a round ends: it is not about them."""

HUB_RETRY = timedelta(seconds=30)
"""Until a claim for which the Hub did not answer is looked at again; meanwhile others have their turn."""


def plan(database: Database, hub: Hub, policy: Policy) -> int:
    """Give every claim that needs one a reproduction, a verdict or a reason to wait; returns how many were planned."""
    unblock(database, policy)
    with database.reading() as session:
        waiting = session.scalars(
            select(Claim.claim_id)
            .where(Claim.state == ClaimState.SUBMITTED, or_(Claim.recheck_at.is_(None), Claim.recheck_at <= now()))
            # Logs take long to read: nobody waits behind them but those who link to one.
            .order_by(_may_link_to_a_log(), _priority(), Claim.created_at)
            .limit(PLANNED_AT_ONCE)
        ).all()
    logs = LinkedLogs(hub)
    away = 0
    for count, claim_id in enumerate(waiting, 1):
        with about(claim_id=claim_id):
            away = 0 if plan_claim(database, hub, policy, claim_id, logs) else away + 1
        if away == AWAY_IN_A_ROW:
            # Each may have taken all the patience that there is for one request.
            return count
    return len(waiting)


def _may_link_to_a_log() -> ColumnElement[bool]:
    return and_(Claim.source_url.is_not(None), Claim.source_url.contains(SUFFIX))


def _priority() -> ColumnElement[int]:
    by_submitter = case((Claim.pull_request.is_not(None), COMMUNITY_PRIORITY), else_=AUTHOR_PRIORITY)
    return func.coalesce(Claim.asked_priority, by_submitter)


def unblock(database: Database, policy: Policy) -> None:
    """Have blocked claims planned again when it is time to look, or policy asks for no approval any more."""
    due = or_(Claim.recheck_at <= now(), budgets.waiting_without_need(policy.budget))
    with database.transaction() as session:
        for claim in session.scalars(
            select(Claim).where(Claim.state == ClaimState.BLOCKED, due).order_by(Claim.since).limit(PLANNED_AT_ONCE)
        ):
            move_claim(session, claim, ClaimState.SUBMITTED, f"looks again whether it still {claim.reason}")


def plan_claim(database: Database, hub: Hub, policy: Policy, claim_id: str, logs: LinkedLogs) -> bool:
    """Plan one claim; whether the Hub answered. It is asked first, so that no transaction waits for it."""
    with database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        model = session.get_one(Model, claim.model_id)
    benchmark = None
    try:
        benchmark = _benchmark_facts(database, hub, claim)
        answer = _admit(database, hub, policy, claim, model, benchmark)
        rules = answer.rules if isinstance(answer, Run) else None
        foreseen = foresee(_claim_facts(claim), benchmark, policy, rules)
        known = _known_samples(database, claim, foreseen)
        cost = _cost(database, claim, model, answer, foreseen, known)
        # A log is not read for a claim that will not be run today.
        held = _is_held(database, policy, claim, answer, cost)
        reading = None if held else _linked_log(policy, claim, answer, logs)
    except NoAccess as error:
        answer = Blocked(f"{error}; the farm's operator must be given access")
        foreseen = foresee(_claim_facts(claim), benchmark, policy) if benchmark is not None else None
        known = reading = cost = None
        held = False
    except NotNow:
        # Stays submitted: the next round tries again.
        return True
    except HubAway as error:
        _put_off(database, policy, claim_id, error)
        return False
    expected = in_short(foreseen, known.samples) if isinstance(answer, Run) and foreseen and known else None
    # Two planners that meet over one new reproduction: the loser's claim stays submitted for the next round.
    with suppress(IntegrityError), database.transaction() as session:
        claim = session.get_one(Claim, claim_id, with_for_update=True)
        # Another planner, or a withdrawal, may have come first.
        if claim.state == ClaimState.SUBMITTED:
            claim.foreseen = foreseen.model_dump(mode="json") if foreseen is not None else None
            if isinstance(answer, Run) and cost is not None:
                claim.gpu_seconds, claim.gpu_seconds_basis = cost.gpu_seconds, cost.basis
                wait = _wait(session, policy, claim, answer, cost)
                if wait is not None:
                    claim.run_key = answer.key
                    hold_claim(session, claim, wait.reason, wait.until)
                if wait is not None or held:
                    # Room that came since: the next round plans it, log and all.
                    return True
            if reading is not None:
                claim.linked_log = reading.model_dump(mode="json")
            _carry_out(session, claim, benchmark, answer, expected)
    return True


def _put_off(database: Database, policy: Policy, claim_id: str, error: HubAway) -> None:
    """Say what a submitted claim waits for; and no longer than a reproduction would wait for a worker."""
    with database.transaction() as session:
        claim = session.get_one(Claim, claim_id, with_for_update=True)
        if claim.state != ClaimState.SUBMITTED:
            return
        # No change of state, and so no event: it would be one for each claim and half minute.
        claim.reason = clean(f"waits for the Hub, which does not answer: {error}", MAX_REASON_CHARS)
        claim.recheck_at = now() + HUB_RETRY
        if now() - claim.since > timedelta(seconds=policy.run.queue_seconds):
            late = f"the Hub did not say within {policy.run.queue_seconds:.0f} s what planning needs: {error}"
            give_verdict(session, claim, Verdict(outcome=Outcome.FAILED, reason=clean(late, 2000), comparison=None))


def _admit(
    database: Database, hub: Hub, policy: Policy, claim: Claim, model: Model, benchmark: BenchmarkFacts
) -> Run | Blocked | Refused:
    if model.weights_sha256 is None:
        return Blocked("waits for a look at the model's files")
    facts = ModelFacts(model.weights_sha256, model.weights_bytes, model.gated)
    has_token = bool(hub.api.token)
    answer = admit(_claim_facts(claim), benchmark, facts, policy, has_token=has_token)
    if not isinstance(answer, Run):
        return answer
    # Only now it is known how and where it would run, and so which noise is its own.
    measured = replace(benchmark, spread=_spread(database, claim, benchmark, model, answer))
    return admit(_claim_facts(claim), measured, facts, policy, has_token=has_token)


def _spread(
    database: Database, claim: Claim, benchmark: BenchmarkFacts, model: Model, run: Run
) -> MeasuredSpread | None:
    """What the noise ledger says of such a run."""
    if benchmark.revision is None or model.weights_bytes is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without a pinned spec or weights")
    planned = noise.Planned(
        dataset_id=_claim_facts(claim).dataset_id,
        dataset_revision=benchmark.revision,
        task_id=run.task_id,
        settings=run.settings.model_dump(mode="json"),
        weights_bytes=model.weights_bytes,
        pool=run.pool.name,
    )
    with database.reading() as session:
        return noise.spread_for(session, planned)


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


def _benchmark_facts(database: Database, hub: Hub, claim: Claim) -> BenchmarkFacts:
    """What is known of the claim's benchmark, at the revision it pins, else at its head."""
    dataset_id = _claim_facts(claim).dataset_id
    with database.reading() as session:
        row = session.get(Benchmark, dataset_id)
    if row is None or row.revision is None:
        return BenchmarkFacts(watched=False, revision=None, spec=None, gated=False, has_percent=False)
    revision, text = claim.dataset_revision or row.revision, None
    # A revision that the dataset does not have is one without an eval.yaml.
    with suppress(Missing):
        if claim.dataset_revision and not _is_known(database, dataset_id, revision):
            revision = hub.commit_of(dataset_id, revision)
        text = spec_text(database, hub, dataset_id, revision)
    return BenchmarkFacts(
        watched=True,
        revision=revision,
        spec=_parsed(text) if text is not None else None,
        gated=row.gated,
        has_percent=row.has_percent,
        sizes=row.sizes if revision == row.revision else {},
    )


@lru_cache(maxsize=64)
def _parsed(text: bytes) -> eval_yaml.Spec:
    """The spec in an eval.yaml: thousands of claims on one benchmark read the same one."""
    return eval_yaml.parse(text)


def _is_known(database: Database, dataset_id: str, revision: str) -> bool:
    """Whether it is a commit whose spec was read before, which spares a request."""
    with database.reading() as session:
        return session.get(SpecFile, (dataset_id, revision)) is not None


def _known_samples(database: Database, claim: Claim, foreseen: Foreseen | None) -> KnownSamples | None:
    if foreseen is None:
        return None
    dataset_id = _claim_facts(claim).dataset_id
    with database.reading() as session:
        return known_samples(session, dataset_id, foreseen.dataset_revision, foreseen.task_id, foreseen.card_samples)


def _cost(
    database: Database,
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
    dataset_id = _claim_facts(claim).dataset_id
    with database.reading() as session:
        earlier = earlier_costs(session, dataset_id, answer.task_id, model.weights_bytes, answer.pool.name)
    work = Work(
        weights_bytes=model.weights_bytes,
        gpus=answer.pool.gpus,
        samples=samples_if_true(foreseen, known.samples) if known is not None else None,
        epochs=foreseen.epochs,
        max_tokens=answer.settings.generation.max_tokens,
        concurrency=answer.settings.engine.concurrency,
    )
    return estimate(work, earlier)


def _is_held(
    database: Database, policy: Policy, claim: Claim, answer: Run | Blocked | Refused, cost: Estimate | None
) -> bool:
    """Whether the budget seems to hold the claim back; what counts is asked again where it is planned."""
    if not isinstance(answer, Run) or cost is None or policy.budget == BudgetRules():
        return False
    with database.reading() as session:
        needs_run = find_shared(session, answer.key, claim.fresh_after, lock=False) is None
        return needs_run and budgets.held_back(session, policy.budget, claim, cost, now()) is not None


def _wait(session: Session, policy: Policy, claim: Claim, run: Run, cost: Estimate) -> budgets.Held | None:
    """Why the claim has to wait, as nobody else can change it before the transaction ends. A run it joins is free."""
    if find_shared(session, run.key, claim.fresh_after, lock=True) is not None:
        return None
    budgets.take_turn(session, policy.budget)
    # The turn may have come after another's transaction, which planned that very run.
    if find_shared(session, run.key, claim.fresh_after, lock=True) is not None:
        return None
    return budgets.held_back(session, policy.budget, claim, cost, now())


def _carry_out(
    session: Session,
    claim: Claim,
    benchmark: BenchmarkFacts | None,
    answer: Run | Blocked | Refused,
    expected: str | None,
) -> None:
    if isinstance(answer, Refused):
        give_verdict(session, claim, Verdict(outcome=Outcome.UNSUPPORTED, reason=answer.reason, comparison=None))
    elif isinstance(answer, Blocked):
        block_claim(session, claim, answer.reason)
    else:
        reproduction = _shared(session, claim, answer) or _new(session, claim, benchmark, answer)
        claim.rules = answer.rules.model_dump(mode="json")
        claim.reproduction_id = reproduction.reproduction_id
        words = _how_judged(answer.rules, reproduction)
        move_claim(session, claim, ClaimState.PLANNED, f"{words}; {expected}" if expected else words)
        if reproduction.state == ReproductionState.COMPLETED:
            judge_claim(session, claim, reproduction)


def _how_judged(rules: Rules, reproduction: Reproduction) -> str:
    words = f"judged by reproduction {reproduction.reproduction_id}"
    if rules.tolerance is None or rules.tolerance_source != "measured":
        return words
    return f"{words}; tolerance {100 * rules.tolerance:.2f} points, measured on {rules.spread_source}"


def _shared(session: Session, claim: Claim, run: Run) -> Reproduction | None:
    """The reproduction that answers for this claim too, if any: it takes further claims, or ran every sample."""
    found = find_shared(session, run.key, claim.fresh_after, lock=True)
    if found is not None and run.priority < found.priority:
        found.priority = run.priority
        why = f"claim {claim.claim_id} needs it sooner"
        add_event(session, SCHEDULER, "reproduction", found.reproduction_id, "priority", why)
    return found


def _new(session: Session, claim: Claim, benchmark: BenchmarkFacts | None, run: Run) -> Reproduction:
    model = session.get_one(Model, claim.model_id)
    if benchmark is None or benchmark.spec is None or benchmark.revision is None or model.revision is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without a pinned spec and model")
    if model.weights_sha256 is None or model.weights_bytes is None:
        raise ValueError(f"claim {claim.claim_id} was admitted without weights")
    reproduction = Reproduction(
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
    )
    if claim.fresh_after is not None:
        stop_taking_claims(session, run.key, claim.fresh_after)
    session.add(reproduction)
    session.flush()
    _wake_alike(session, run)
    add_event(
        session, SCHEDULER, "reproduction", reproduction.reproduction_id, "queued", f"planned for {run.pool.name}"
    )
    return reproduction


def _wake_alike(session: Session, run: Run) -> None:
    """Have claims that a budget holds back looked at again where a new run answers them too, at no cost."""
    # Rows that another transaction holds are left to it: waiting for one another could go in a circle.
    alike = select(Claim.claim_id).where(Claim.run_key == run.key, Claim.state == ClaimState.BLOCKED)
    session.execute(
        update(Claim)
        .where(Claim.claim_id.in_(alike.with_for_update(skip_locked=True)))
        .values(recheck_at=now())
        .execution_options(synchronize_session=False)
    )
