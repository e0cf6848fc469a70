"""What is to be done about one claim. Facts are asked for here, of the Hub too, so that no transaction waits for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from scheduler.admission import budgets
from scheduler.admission.admission import Admitted, Blocked, Refused, admit, foresee
from scheduler.admission.facts import BenchmarkFacts, ClaimFacts, ModelFacts
from scheduler.database.session import Database
from scheduler.database.tables import UNREADABLE, Claim, Model, now
from scheduler.planning.freshness import asked_with
from scheduler.planning.joinable_runs import has_joinable
from scheduler.planning.linked_logs import LinkedLogs
from scheduler.planning.planning_facts import PlanningFacts, SharedAssessment
from scheduler.planning.putting_back import begun_for
from scheduler.planning.task_history import KnownSamples
from specs.engines.model_size import ModelSize
from specs.errors import NoAccess
from specs.hub.notes import names_tools
from specs.judging.forecast import Foreseen, samples_if_true
from specs.logs.linked_log import LinkedLogReading
from specs.policy.budget import BudgetRules
from specs.policy.cost import Estimate, Work, estimate
from specs.policy.rules import Policy


@dataclass(frozen=True)
class Assessment:
    """What is to be done about a claim, and what that rests on."""

    claim_id: str
    model_id: str
    found: Admitted | Blocked | Refused
    benchmark: BenchmarkFacts | None = None
    foreseen: Foreseen | None = None
    known: KnownSamples | None = None
    cost: Estimate | None = None
    cost_of_all: Estimate | None = None
    reading: LinkedLogReading | None = None
    held: bool = False
    weights_sha256: str | None = None
    """Of the model's files for which that holds."""


def assess(facts: PlanningFacts, policy: Policy, claim: Claim, model: Model, logs: LinkedLogs) -> Assessment:
    """What to do about a claim.

    Raises:
        HubAway: the Hub did not answer.
        NotListedYet: nobody knows yet whether its benchmark is watched.
        HiddenNow: its benchmark is hidden, at whose revisions it has to be looked.
        NotNow: this round has read logs for long enough.
    """
    benchmark = None
    said = _claim_facts(claim)
    try:
        benchmark = facts.benchmark(said.dataset_id, claim.dataset_revision, claim.created_at)
        work_out = partial(_work_out, facts, policy, claim, said, model, benchmark)
        alike = facts.alike(model, said, claim.dataset_revision, claim.fresh_after, work_out)
        # A log is not read for a claim that will not be run today.
        held = _is_held(facts.database, policy, claim, model, alike.found, alike.cost)
        reading = None if held else _linked_log(policy, claim, said, alike.found, logs)
    except NoAccess as error:
        blocked = Blocked(f"{error}; the farm's operator must be given access")
        foreseen = foresee(said, benchmark, policy) if benchmark is not None else None
        return Assessment(
            claim.claim_id, claim.model_id, blocked, benchmark, foreseen, weights_sha256=model.weights_sha256
        )
    return Assessment(
        claim.claim_id,
        claim.model_id,
        alike.found,
        benchmark,
        alike.foreseen,
        alike.known,
        alike.cost,
        alike.cost_of_all,
        reading,
        held,
        model.weights_sha256,
    )


def _work_out(
    facts: PlanningFacts,
    policy: Policy,
    claim: Claim,
    said: ClaimFacts,
    model: Model,
    benchmark: BenchmarkFacts,
) -> SharedAssessment:
    found = _admit(facts, policy, said, model, benchmark)
    foreseen = foresee(said, benchmark, policy, found.rules if isinstance(found, Admitted) else None)
    if foreseen is not None and isinstance(found, Admitted):
        last = foreseen.sample_limit is None and facts.one_was_sent(found.key)
        if last and claim.fresh_after is not None:
            with facts.database.reading() as session:
                last = asked_with(session, claim, model.weights_sha256, found.key, policy.reverify).again
        foreseen = foreseen.model_copy(update={"every_sample": last})
    known = facts.samples(said.dataset_id, foreseen) if foreseen is not None else None
    cost, cost_of_all = _costs(facts, said, model, found, foreseen, known)
    return SharedAssessment(found, foreseen, known, cost, cost_of_all)


def _admit(
    facts: PlanningFacts, policy: Policy, said: ClaimFacts, model: Model, benchmark: BenchmarkFacts
) -> Admitted | Blocked | Refused:
    if model.weights_sha256 is None or model.weights_sha256 == UNREADABLE:
        return Blocked("waits for a look at the model's files")
    of_model = ModelFacts(model.weights_sha256, _size(model), model.gated)
    has_token = bool(facts.hub.api.token)
    answer = admit(said, benchmark, of_model, policy, has_token=has_token)
    if not isinstance(answer, Admitted):
        return answer
    if benchmark.revision is None or model.weights_bytes is None:
        raise ValueError(f"a claim on {said.model_id} was admitted without a pinned spec or weights")
    # Only now it is known how and where it would run, and so which noise is its own.
    noise = facts.measured_noise(said.dataset_id, benchmark.revision, answer, model.weights_bytes)
    if noise is None:
        return answer
    return admit(said, replace(benchmark, noise=noise), of_model, policy, has_token=has_token)


def _size(model: Model) -> ModelSize | None:
    if model.size is not None:
        return ModelSize.model_validate(model.size, strict=False)
    if model.weights_bytes is None:
        return None
    return ModelSize.of_files(model.weights_bytes, "its config.json was not looked at yet")


def _linked_log(
    policy: Policy, claim: Claim, said: ClaimFacts, answer: Admitted | Blocked | Refused, logs: LinkedLogs
) -> LinkedLogReading | None:
    """What the log says that a claim links to, if the claim is run and policy has such logs read."""
    if not isinstance(answer, Admitted) or not policy.rules_for(said.dataset_id, answer.task_id).linked_logs:
        return None
    return logs.read(claim, said.value, answer.rules.scale)


def _claim_facts(claim: Claim) -> ClaimFacts:
    if claim.dataset_id is None or claim.value is None:
        raise ValueError(f"claim {claim.claim_id} is {claim.state} without a dataset or a value")
    return ClaimFacts(
        model_id=claim.model_id,
        dataset_id=claim.dataset_id,
        task_id=claim.task_id,
        value=claim.value,
        community=claim.pull_request is not None,
        with_tools=names_tools(claim.notes),
        asked_priority=claim.asked_priority,
    )


def _costs(
    facts: PlanningFacts,
    said: ClaimFacts,
    model: Model,
    answer: Admitted | Blocked | Refused,
    foreseen: Foreseen | None,
    known: KnownSamples | None,
) -> tuple[Estimate | None, Estimate | None]:
    """What a reproduction for the claim alone is taken to cost, and one of every sample; None where it is not run."""
    if not isinstance(answer, Admitted) or foreseen is None:
        return None, None
    if model.weights_bytes is None:
        raise ValueError(f"a claim on {said.model_id} was admitted without weights")
    earlier = facts.costs(said.dataset_id, answer.task_id, model.weights_bytes, answer.pool.name)
    work = Work(
        weights_bytes=model.weights_bytes,
        gpus=answer.placement.gpus,
        held_gpus=answer.pool.gpus,
        samples=samples_if_true(foreseen, known.samples) if known is not None else None,
        epochs=foreseen.epochs,
        max_tokens=answer.max_tokens,
        concurrency=answer.settings.engine.concurrency,
        read_part=_read_part(model, answer.settings.engine.concurrency),
    )
    every = replace(work, samples=known.samples if known is not None else None)
    return estimate(work, earlier), estimate(every, earlier)


def _read_part(model: Model, concurrency: int) -> float:
    size = _size(model)
    experts = size.config.experts if size is not None and size.config is not None else None
    return experts.part_read(concurrency) if experts is not None else 1.0


def _is_held(
    database: Database,
    policy: Policy,
    claim: Claim,
    model: Model,
    answer: Admitted | Blocked | Refused,
    cost: Estimate | None,
) -> bool:
    """Whether the budget seems to hold the claim back; what counts is asked again where it is planned.

    Not where its score had a run already, which may answer it for nothing.
    """
    if not isinstance(answer, Admitted) or cost is None or policy.budget == BudgetRules():
        return False
    with database.reading() as session:
        asked = asked_with(session, claim, model.weights_sha256, answer.key, policy.reverify)
        begun = begun_for(session, [claim], [model.weights_sha256], [answer.key]) if model.weights_sha256 else ()
        was_begun = any(each.value == claim.value for each in begun)
        needs_run = not was_begun and not has_joinable(session, answer.key, asked.since)
        return needs_run and budgets.held_back(session, policy.budget, claim, cost, now()) is not None
