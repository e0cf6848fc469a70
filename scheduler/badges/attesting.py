"""What a badge states: the facts of a verified claim, gathered from its verdict, its rules and its reproduction."""

from __future__ import annotations

from datetime import datetime

from scheduler.admission.judging_rules import JudgingRules
from scheduler.database.tables import Claim, Reproduction, VerdictRow
from scheduler.public_urls import evidence_url
from specs.attestation import Attestation
from specs.judging.verdict import Outcome, Verdict
from specs.measurement import Circumstances


def attest(public_url: str, badge_id: str, at: datetime, claim: Claim) -> Attestation:
    """The statement to be signed.

    Raises:
        ValueError: the claim's verdict is not a verified one with its figures and evidence.
    """
    row, reproduction = claim.verdict, claim.reproduction
    if row is None or reproduction is None or row.outcome != Outcome.VERIFIED:
        outcome = row.outcome if row is not None else claim.state
        raise ValueError(f"claim {claim.claim_id} is {outcome} and has no verified figures to attest")
    return facts_of(public_url, badge_id, at, claim, reproduction, row)


def facts_of(
    public_url: str, statement_id: str, at: datetime, claim: Claim, reproduction: Reproduction, row: VerdictRow
) -> Attestation:
    """What a verdict rests on, in the words of an attestation. Only that of a verified one can be signed.

    Raises:
        ValueError: it has no figures or no evidence.
    """
    comparison = Verdict.model_validate(row.verdict, strict=False).comparison
    if (
        comparison is None
        or comparison.reproduced is None
        or comparison.interval is None
        or claim.dataset_id is None
        or claim.value is None
        or reproduction.evidence_sha256 is None
        or reproduction.seed is None
    ):
        raise ValueError(f"claim {claim.claim_id} has no figures to state")
    rules = JudgingRules.model_validate(claim.rules, strict=False)
    # Of a measurement this alone: thousands of scores were checked when it came in.
    ran = Circumstances.model_validate((reproduction.measurement or {}).get("circumstances"), strict=False)
    return Attestation(
        iss=public_url,
        iat=int(at.timestamp()),
        jti=statement_id,
        model=claim.model_id,
        model_revision=reproduction.model_revision,
        dataset=claim.dataset_id,
        task=claim.task_id,
        dataset_revision=reproduction.dataset_revision,
        spec_sha256=reproduction.spec_sha256,
        claimed_value=claim.value,
        scale=rules.scale,
        claimed=comparison.claimed,
        reproduced=comparison.reproduced,
        standard_error=comparison.standard_error,
        samples_used=comparison.samples_used,
        population=comparison.population,
        tolerance=comparison.tolerance,
        mode=comparison.mode,
        alpha=comparison.alpha,
        interval=comparison.interval,
        evidence_sha256=reproduction.evidence_sha256,
        evidence_url=evidence_url(public_url, reproduction.evidence_sha256),
        policy_sha256=rules.policy_sha256,
        versions=ran.versions,
        seed=reproduction.seed,
        batch_invariant=ran.batch_invariant,
        failed=comparison.failed,
    )
