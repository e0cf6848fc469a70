"""What was found about claims is carried out: each joins a reproduction, makes one, waits, or has its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from scheduler.admission import budgets
from scheduler.admission.admission import Admitted, Blocked, Refused
from scheduler.admission.facts import BenchmarkFacts
from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.placement import Placement
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model, Reproduction, new_id, now
from scheduler.judging.comparing import judge_claims
from scheduler.judging.stopping import are_too_many, asks_every_sample, stopping_of, takes_claims_to_the_end
from scheduler.planning.assessment import Assessment
from scheduler.planning.freshness import Freshness, Made, Target, Versions, asked_with, made_lately
from scheduler.planning.joinable_runs import JoinableRuns, stop_taking_claims
from scheduler.planning.putting_back import (
    AskedAnew,
    Begun,
    asked_anew_for,
    begin_as,
    begun_for,
    run_before,
    still_asked_anew,
)
from scheduler.record import (
    MAX_REASON_CHARS,
    SCHEDULER,
    add_event,
    block_claim,
    give_verdict,
    hold_claim,
    move_claim,
    unblock_claim,
)
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.stored_values import settings_of
from specs.engine_key import engine_key
from specs.judging.forecast import in_short
from specs.judging.verdict import Outcome, Verdict
from specs.measurement import Measurement
from specs.messages import ModelRef
from specs.policy.budget import BudgetRules
from specs.policy.engine import EngineRules
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import Policy
from specs.text import clean


def carry_out(database: Database, policy: Policy, answers: Sequence[Assessment]) -> None:
    """Do what was found about claims that are still submitted, in one transaction.

    Raises:
        IntegrityError: another planner made one of the new reproductions first; nothing is done.
    """
    with database.transaction() as session:
        # In one order, as everybody who locks several rows.
        in_order = sorted(answer.claim_id for answer in answers)
        rows = select(Claim).where(Claim.claim_id.in_(in_order)).order_by(Claim.claim_id).with_for_update()
        # Another planner, or a withdrawal, may have come first.
        claims = {row.claim_id: row for row in session.scalars(rows) if _is_due(row)}
        answers = [answer for answer in answers if answer.claim_id in claims]
        # Reads them at once; each is then at hand.
        models = session.scalars(select(Model).where(Model.model_id.in_({each.model_id for each in answers}))).all()
        by_id = {model.model_id: model for model in models}
        # What was found holds for the files that were there then, and a linked log takes minutes to read.
        answers = [each for each in answers if by_id[each.model_id].weights_sha256 == each.weights_sha256]
        keys = {each.found.key for each in answers if isinstance(each.found, Admitted)}
        weights = {each.weights_sha256 for each in answers if each.weights_sha256 is not None}
        anew = asked_anew_for(session, [claims[each.claim_id] for each in answers], weights, keys)
        if anew:
            answers = [each for each in answers if not _is_asked_anew(claims[each.claim_id], each, anew)]
        begun = begun_for(session, [claims[each.claim_id] for each in answers], weights, keys)
        shared = JoinableRuns(session, keys, {each.reproduction_id for each in begun})
        runs = _Runs(shared, begun, policy.reverify, made_lately(session, by_id, weights, policy.reverify))
        new = [
            made
            for answer in answers
            if (made := _carry_out(session, policy, claims[answer.claim_id], by_id[answer.model_id], answer, runs))
        ]
        for reproduction, late in runs.late.items():
            measurement = Measurement.model_validate(reproduction.measurement, strict=False)
            judge_claims(session, late, reproduction, measurement, stopping_of(reproduction))
        if new:
            session.flush()
            _wake_alike(session, new)


def _is_asked_anew(claim: Claim, answer: Assessment, asked: Sequence[AskedAnew]) -> bool:
    """Whether a claim turns out to await a fresh run, as which the next round plans it: that costs something else."""
    since = still_asked_anew(asked, claim, answer.found.key) if isinstance(answer.found, Admitted) else None
    if since is not None:
        claim.fresh_after = since
    return since is not None


@dataclass(frozen=True)
class _Runs:
    """The reproductions that may answer the claims of one transaction."""

    shared: JoinableRuns
    begun: Sequence[Begun]
    rules: ReverifyRules
    made: dict[Target, set[Made]]
    """What was planned of late of the claims' models and weights; not what another planner plans just now."""

    late: dict[Reproduction, list[Claim]] = field(default_factory=dict)
    """The claims that joined one that is completed: it judges them once all have, as it reads what it measured once."""

    def before(self, claim: Claim, run: Admitted, asked: Freshness) -> Reproduction | None:
        """The one that was begun before and was to decide a claim's score."""
        return run_before(self.shared, self.begun, claim, run, asked.since)

    def is_further(self, claim: Claim, answer: Assessment, run: Admitted) -> bool:
        """Whether a run of other weights or another revision was planned of late for the same model and task.

        Or of the same weights under another name in its namespace. Else a file more in the model's repo, each commit of
        the benchmark, or each name that the repo is given, would be two draws more, the first of them cheap. Where all
        are the same, `one_was_sent` and `Freshness` tell. An entry on main does not pay for what was claimed on a pull
        request, which anybody may open.
        """
        own = Versions(answer.weights_sha256, answer.benchmark.revision if answer.benchmark is not None else None)
        made = self.made.get(Target.of(claim.model_id, claim.dataset_id, run.task_id), set())
        is_another = any(
            each.versions != own
            if each.model_id == claim.model_id
            else each.versions.weights_sha256 == own.weights_sha256
            for each in made
            if claim.pull_request is not None or not each.community
        )
        return run.settings.sample_limit is None and is_another

    def add(self, new: Reproduction) -> None:
        """One that this transaction makes."""
        self.shared.add(new)
        made = Made(new.model_id, Versions(new.weights_sha256, new.dataset_revision), new.community)
        self.made.setdefault(Target.of(new.model_id, new.dataset_id, new.task_id), set()).add(made)


def _carry_out(
    session: Session, policy: Policy, claim: Claim, model: Model, answer: Assessment, runs: _Runs
) -> Reproduction | None:
    """Do what was found about one claim; returns the reproduction that it needed, if that is a new one."""
    found = answer.found
    is_further = isinstance(found, Admitted) and runs.is_further(claim, answer, found)
    if isinstance(found, Admitted) and is_further:
        answer = _of_every_sample(session, claim, found, answer, runs)
    claim.foreseen = answer.foreseen.model_dump(mode="json") if answer.foreseen is not None else None
    if isinstance(found, Admitted) and answer.cost is not None:
        claim.gpu_seconds, claim.gpu_seconds_basis = answer.cost.gpu_seconds, answer.cost.basis
        wait = _wait(session, policy, claim, found, answer, runs)
        if wait is not None:
            hold_claim(session, claim, wait.reason, wait.until, found.key)
            if is_further and wait.until is None:
                # By then what it is further to was planned too long ago to count, and it may need no approval.
                claim.recheck_at = now() + timedelta(seconds=runs.rules.cooldown_seconds)
        if wait is not None or answer.held:
            # Room that came since: the next round plans it, log and all.
            return None
    if answer.reading is not None:
        claim.linked_log = answer.reading.model_dump(mode="json")
    if isinstance(found, Blocked):
        block_claim(session, claim, found.reason)
        return None
    if claim.state == ClaimState.BLOCKED:
        unblock_claim(session, claim)
    if isinstance(found, Refused):
        give_verdict(session, claim, Verdict(outcome=Outcome.UNSUPPORTED, reason=found.reason, comparison=None))
        return None
    return _join_or_make(session, claim, model, answer, found, runs)


def _of_every_sample(session: Session, claim: Claim, run: Admitted, answer: Assessment, runs: _Runs) -> Assessment:
    """What a further run takes, unless there is one that answers the claim."""
    asked = asked_with(session, claim, answer.weights_sha256, run.key, runs.rules)
    is_made = runs.before(claim, run, asked) is None and runs.shared.find(run.key, asked.since) is None
    if answer.foreseen is None or not is_made:
        return answer
    foreseen = answer.foreseen.model_copy(update={"every_sample": True})
    return replace(answer, foreseen=foreseen, cost=answer.cost_of_all)


def _is_due(claim: Claim) -> bool:
    """Whether it is to be planned: new, or blocked by what may be gone."""
    is_blocked = claim.state == ClaimState.BLOCKED
    return claim.state == ClaimState.SUBMITTED or (
        is_blocked and claim.recheck_at is not None and claim.recheck_at <= now()
    )


def _wait(
    session: Session, policy: Policy, claim: Claim, run: Admitted, answer: Assessment, runs: _Runs
) -> budgets.Held | None:
    """Why the claim has to wait, as nobody else can change it before the transaction ends.

    A run it joins is free, unless that was to stop early and has to ask every sample with it.
    """
    asked = asked_with(session, claim, answer.weights_sha256, run.key, runs.rules)
    shared, before = runs.shared, runs.before(claim, run, asked)
    if answer.cost is None or answer.cost_of_all is None or (before is not None and not _came_to_nothing(before)):
        return None
    joined = shared.find(run.key, asked.since)
    if joined is None and policy.budget != BudgetRules():
        budgets.take_turn(session, policy.budget)
        # The turn may have come after another's transaction, which planned that very run.
        shared.look_again([run.key])
        joined = shared.find(run.key, asked.since)
        if joined is None:
            return budgets.held_back(session, policy.budget, claim, answer.cost, now())
    if joined is None or not _are_too_many_with(joined, run, shared):
        return None
    # What an approval is asked for, and given for.
    claim.gpu_seconds, claim.gpu_seconds_basis = answer.cost_of_all.gpu_seconds, answer.cost_of_all.basis
    budgets.take_turn(session, policy.budget)
    return budgets.count_as(session, policy.budget, joined, claim, answer.cost_of_all, now())


def _are_too_many_with(joined: Reproduction, run: Admitted, shared: JoinableRuns) -> bool:
    """Whether a run that was not sent out yet has to ask every sample once one more claim waits for it, and not before.

    That is decided when it is sent; but it is planned, and counted, as one that a true claim may end early.
    """
    settings = settings_of(joined)
    if joined.seed is not None or takes_claims_to_the_end(settings):
        return False
    return not are_too_many(settings, shared.waiting(joined)) and are_too_many(
        settings, shared.waiting(joined, run.rules)
    )


def _join_or_make(
    session: Session, claim: Claim, model: Model, answer: Assessment, run: Admitted, runs: _Runs
) -> Reproduction | None:
    # Once more: until the budget's turn came, another planner's run may have been sent out.
    asked = asked_with(session, claim, answer.weights_sha256, run.key, runs.rules)
    before = runs.before(claim, run, asked)
    joined = before
    if before is None or _came_to_nothing(before):
        joined = runs.shared.find(run.key, asked.since)
    if joined is not None:
        _bring_forward(session, joined, claim, run)
        if asked.again and joined.seed is None and not joined.asked_anew:
            # Planned for an entry, and as good as a second one; now also if the first fails.
            joined.asked_anew = joined.second_anew = True
    reproduction = joined or _new(session, claim, model, answer.benchmark, run, asked)
    if joined is None:
        reproduction.second_anew |= runs.is_further(claim, answer, run)
        if before is not None:
            begin_as(reproduction, before, run.rules)
        runs.add(reproduction)
    claim.rules = run.rules.model_dump(mode="json")
    claim.reproduction_id = reproduction.reproduction_id
    claims = runs.shared.count(reproduction, run.rules)
    words = _how_judged(run.rules, reproduction)
    if answer.foreseen is not None:
        foreseen = answer.foreseen
        every = reproduction.complete or asks_every_sample(
            reproduction, one_was_sent=foreseen.every_sample, claims=claims
        )
        if every != foreseen.every_sample:
            # The run that it joined is another than one for it alone would be.
            foreseen = foreseen.model_copy(update={"every_sample": every})
            claim.foreseen = foreseen.model_dump(mode="json")
        if answer.known is not None:
            words = f"{words}; {in_short(foreseen, answer.known.samples)}"
    move_claim(session, claim, ClaimState.PLANNED, words)
    if reproduction.state == ReproductionState.COMPLETED:
        runs.late.setdefault(reproduction, []).append(claim)
    return reproduction if joined is None else None


def _came_to_nothing(before: Reproduction) -> bool:
    return before.state == ReproductionState.CANCELLED


def _how_judged(rules: JudgingRules, reproduction: Reproduction) -> str:
    words = f"judged by reproduction {reproduction.reproduction_id}"
    if rules.tolerance is None or rules.tolerance_source != "measured":
        return words
    return f"{words}; tolerance {100 * rules.tolerance:.2f} points, measured on {rules.spread_source}"


def _bring_forward(session: Session, joined: Reproduction, claim: Claim, run: Admitted) -> None:
    """Have a reproduction run as soon as a claim that joins it would have one of its own run."""
    if run.priority < joined.priority:
        joined.priority = run.priority
        why = f"claim {claim.claim_id} needs it sooner"
        add_event(session, SCHEDULER, "reproduction", joined.reproduction_id, "priority", why)


def _new(
    session: Session,
    claim: Claim,
    model: Model,
    benchmark: BenchmarkFacts | None,
    run: Admitted,
    asked: Freshness,
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
        spec_refusal=benchmark.spec.refused_by_inspect,
        settings=run.settings.model_dump(mode="json"),
        pool=run.pool.name,
        priority=run.priority,
        caused_by=claim.claim_id,
        submitter=claim.submitter,
        community=claim.pull_request is not None,
        gpu_seconds=claim.gpu_seconds,
        asked_anew=asked.since is not None,
        # Fixed now: what it is the second of may still fail.
        second_anew=asked.again,
        state=ReproductionState.QUEUED,
        joinable=True,
        complete=False,
        created_at=at,
        since=at,
        waits_since=at,
        # The last word: what it follows from takes it away when it is set.
        engine_key=_engine_key(claim.model_id, model.revision, run.settings.engine, run.settings.gpus),
    )
    if asked.since is not None:
        stop_taking_claims(session, run.key, asked.since)
    session.add(reproduction)
    add_event(session, SCHEDULER, "reproduction", reproduction.reproduction_id, "queued", _where(run.placement))
    return reproduction


@lru_cache(maxsize=256)
def _engine_key(model_id: str, revision: str, engine: EngineRules, gpus: int) -> str:
    # A model's tasks share it.
    return engine_key(ModelRef(model_id=model_id, revision=revision), engine, gpus)


def _where(placement: Placement) -> str:
    return clean(f"planned for {placement.pool.name}, {placement.words}", MAX_REASON_CHARS)


def _wake_alike(session: Session, new: Sequence[Reproduction]) -> None:
    """Have claims looked at again where new runs answer them too, at no cost.

    Those that a budget holds back, and those whose last run a judge or a repo refused.
    """
    # Rows that another transaction holds are left to it: waiting for one another could go in a circle.
    keys = [reproduction.key for reproduction in new]
    alike = select(Claim.claim_id).where(Claim.run_key.in_(keys), Claim.state == ClaimState.BLOCKED)
    session.execute(
        update(Claim)
        .where(Claim.claim_id.in_(alike.with_for_update(skip_locked=True)))
        .values(recheck_at=now())
        .execution_options(synchronize_session=False)
    )
