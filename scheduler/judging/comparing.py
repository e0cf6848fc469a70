"""A completed reproduction judges its claims."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from scheduler.badges.revoking import revoke_earlier
from scheduler.database.tables import Claim, Model, Reproduction
from scheduler.judging.stopping import judged_by, tested
from scheduler.record import SCHEDULER, add_event, give_verdict
from scheduler.stored_values import read, rules_of, settings_of
from specs.engines.model_size import ModelSize
from specs.hub.eval_results import pins
from specs.hub.notes import names_a_setup
from specs.judging.decision import CompletedRun
from specs.judging.likely_reasons import Claimed, likely_reasons
from specs.judging.stopping import JudgedClaim, Stopping
from specs.judging.verdict import LinkedLogUse, Outcome, Verdict
from specs.logs.linked_log import LinkedLogReading, held_against
from specs.measurement import Measurement


def judge_claims(
    session: Session,
    claims: Iterable[Claim],
    reproduction: Reproduction,
    measurement: Measurement,
    stopping: Stopping | None,
) -> None:
    """Give planned claims the verdicts that their completed reproduction supports, by the rules fixed before it ran.

    `measurement` and `stopping` are the reproduction's.
    """
    # Policy's, but for a run that was to ask every sample all the same.
    settings = settings_of(reproduction)
    mode = settings.mode if stopping is not None else "full"
    held = _held_context(session, reproduction, settings.engine.max_model_len) if measurement.truncated else None
    run = CompletedRun(stopping, measurement, mode, held) if stopping is not None else None
    mismatches = []
    # Thousands of claims may say the same of a run of every sample.
    alike: dict[tuple[object, ...], tuple[JudgedClaim, CompletedRun]] = {}
    for claim in claims:
        judged, judged_with = judged_by(claim, reproduction, stopping)
        if run is not None and judged_with is stopping:
            own = run
        else:
            alone = CompletedRun(judged_with, measurement, mode, held)
            judged, own = alike.setdefault(tested(judged), (judged, alone))
        # The badge of a verified one is missing now, by which it is found: scheduler/badges/issuing.py.
        if _judge(session, claim, reproduction, own, judged) is Outcome.MISMATCH:
            mismatches.append(claim)
    revoke_earlier(session, mismatches, reproduction)


def _judge(
    session: Session, claim: Claim, reproduction: Reproduction, run: CompletedRun, judged: JudgedClaim
) -> Outcome:
    linked_log = linked_log_use(claim, run.stopping, run.measurement)
    if linked_log is not None and linked_log.suspicious:
        # Said, and no more: the verdict rests on our own answers.
        why = f"the linked log {linked_log.url} {linked_log.reason}"
        add_event(session, SCHEDULER, "claim", claim.claim_id, "suspicious_log", why)
    verdict = _explained(claim, reproduction, run, run.decide(judged, linked_log))
    give_verdict(session, claim, verdict)
    return verdict.outcome


def _held_context(session: Session, reproduction: Reproduction, max_model_len: int | None) -> int | None:
    """Tokens of the engine's context, where the farm or its engine gave it fewer than the model has.

    Whatever of a model is not known is no reason to say that it has no more.
    """
    model = session.get(Model, reproduction.model_id)
    if model is None or model.size is None or model.weights_sha256 != reproduction.weights_sha256:
        return max_model_len
    config = read(ModelSize, model.size, f"how large {model.model_id} is").config
    if config is None:
        return max_model_len
    given = max_model_len or config.context_tokens
    if not config.names_length:
        # What the engine took is its own guess, where policy has no wish either.
        return given
    # A model that scales by `longrope` has more than what vLLM gives it unless it is asked for more.
    return given if given < (config.longest_tokens or config.context_tokens) else None


def _explained(claim: Claim, reproduction: Reproduction, run: CompletedRun, verdict: Verdict) -> Verdict:
    """A mismatch with what in its run may explain it."""
    if verdict.outcome is not Outcome.MISMATCH or verdict.comparison is None:
        return verdict
    claimed = Claimed(
        scale=rules_of(claim).scale,
        pinned=pins(claim.dataset_revision),
        dataset_revision=reproduction.dataset_revision,
        held_context=run.held_context,
        names_a_setup=names_a_setup(claim.notes),
    )
    return verdict.model_copy(update={"likely_reasons": likely_reasons(verdict.comparison, run.measurement, claimed)})


def linked_log_use(claim: Claim, stopping: Stopping, measurement: Measurement) -> LinkedLogUse | None:
    """What became of the log that the claim links to; None where it links to none."""
    if claim.linked_log is None:
        return None
    reading = read(LinkedLogReading, claim.linked_log, "what its linked log says")
    return held_against(reading, stopping, measurement)
