"""A completed reproduction judges its claims."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler import outbox
from scheduler.admission import Rules
from scheduler.database.tables import Claim, Reproduction
from scheduler.record import give_verdict
from specs.decision import decide, tolerance_for
from specs.measurement import Measurement
from specs.messages import CONTROL_QUEUE
from specs.verdict import Outcome

SIGN = "scheduler.sign"
"""Celery task of the control queue; body: {"claim_id"}."""


def judge_claim(session: Session, claim: Claim, reproduction: Reproduction) -> None:
    """Give a planned claim the verdict that its completed reproduction supports, by the rules fixed at planning."""
    measurement = Measurement.model_validate(reproduction.measurement, strict=False)
    rules = Rules.model_validate(claim.rules, strict=False)
    tolerance = tolerance_for(rules.claimed, measurement.population, rules.task)
    verdict = decide(rules.claimed, tolerance, measurement, rules.verification)
    give_verdict(session, claim, verdict)
    if verdict.outcome is Outcome.VERIFIED:
        outbox.put(session, queue=CONTROL_QUEUE, task=SIGN, body={"claim_id": claim.claim_id})
