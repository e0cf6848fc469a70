"""A completed reproduction judges its claims."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from scheduler.badges.revoking import revoke_earlier
from scheduler.database.tables import Claim, Reproduction
from scheduler.judging.stopping import judged_by
from scheduler.record import SCHEDULER, add_event, give_verdict
from scheduler.stored_values import read, rules_of, settings_of
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
    run = CompletedRun(stopping, measurement, mode) if stopping is not None else None
    for claim in claims:
        judged, judged_with = judged_by(claim, reproduction, stopping)
        own = run if run is not None and judged_with is stopping else CompletedRun(judged_with, measurement, mode)
        _judge(session, claim, reproduction, own, judged)


def _judge(session: Session, claim: Claim, reproduction: Reproduction, run: CompletedRun, judged: JudgedClaim) -> None:
    linked_log = linked_log_use(claim, run.stopping, run.measurement)
    if linked_log is not None and linked_log.suspicious:
        # Said, and no more: the verdict rests on our own answers.
        why = f"the linked log {linked_log.url} {linked_log.reason}"
        add_event(session, SCHEDULER, "claim", claim.claim_id, "suspicious_log", why)
    verdict = _explained(claim, reproduction, run.measurement, run.decide(judged, linked_log))
    give_verdict(session, claim, verdict)
    # The badge of a verified one is missing now, by which it is found: scheduler/badges/issuing.py.
    if verdict.outcome is Outcome.MISMATCH:
        revoke_earlier(session, claim)


def _explained(claim: Claim, reproduction: Reproduction, measurement: Measurement, verdict: Verdict) -> Verdict:
    """A mismatch with what in its run may explain it."""
    if verdict.outcome is not Outcome.MISMATCH or verdict.comparison is None:
        return verdict
    claimed = Claimed(
        scale=rules_of(claim).scale,
        pinned=claim.dataset_revision is not None,
        dataset_revision=reproduction.dataset_revision,
    )
    return verdict.model_copy(update={"likely_reasons": likely_reasons(verdict.comparison, measurement, claimed)})


def linked_log_use(claim: Claim, stopping: Stopping, measurement: Measurement) -> LinkedLogUse | None:
    """What became of the log that the claim links to; None where it links to none."""
    if claim.linked_log is None:
        return None
    reading = read(LinkedLogReading, claim.linked_log, "what its linked log says")
    return held_against(reading, stopping, measurement)
