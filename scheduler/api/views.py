"""Rows of the database as the API's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scheduler.api.dependencies import Source
from scheduler.api.next_step import STALE, blocked_step, next_step, revoked_step, superseded_step
from scheduler.database.tables import Attempt, Badge, Claim, Publication, Reproduction, VerdictRow, now
from scheduler.dispatch.setting_aside import WAITS_FOR
from scheduler.public_urls import evidence_url
from scheduler.state_machine import ClaimState
from scheduler.stored_values import read_known
from specs.api_v1.badges import BadgeSummary
from specs.api_v1.claims import ClaimView, PublicationView, VerdictSummary
from specs.api_v1.reproductions import AttemptView, MeasurementView, ReproductionSummary
from specs.judging.score_so_far import interval_so_far
from specs.judging.verdict import Outcome, Verdict
from specs.measurement import Circumstances, Measurement
from specs.repeat_command import Repeated, folded_command, not_repeatable


@dataclass(frozen=True)
class Run:
    """A reproduction with its current attempt, and its place in the queue."""

    reproduction: Reproduction
    attempt: Attempt | None
    queue_position: int | None
    trouble: str | None = None
    """Why no worker takes it from its pool's queue; None where one will, or it does not wait."""


@dataclass(frozen=True)
class ClaimRow:
    """A claim with all that hangs on it."""

    claim: Claim
    run: Run | None
    verdict: VerdictRow | None
    badge: Badge | None
    publication: Publication | None


def claim_view(source: Source, row: ClaimRow) -> ClaimView:
    """A claim and all that became of it."""
    claim = row.claim
    # `JudgingRules`, as planning wrote them; by key, so that what a later version added is in nobody's way.
    rules: dict[str, Any] = claim.rules or {}
    run = run_summary(source, row.run) if row.run else None
    verdict = verdict_summary(row.verdict) if row.verdict else None
    publication = publication_view(row.publication) if row.publication else None
    compared = verdict.comparison if verdict else None
    return ClaimView.model_validate(
        {
            "id": claim.claim_id,
            "model": claim.model_id,
            "ref": claim.ref,
            "commit": claim.commit,
            "pull_request": claim.pull_request,
            "path": claim.path,
            "entry": claim.entry,
            "submitter": claim.submitter,
            "dataset": claim.dataset_id,
            "task": claim.task_id,
            "dataset_revision": claim.dataset_revision,
            "value": claim.value,
            "scale": rules.get("scale"),
            "scale_source": rules.get("scale_source"),
            "claimed": rules.get("claimed"),
            "tolerance": compared.tolerance if compared else rules.get("tolerance"),
            "notes": claim.notes,
            "source_url": claim.source_url,
            "warnings": claim.warnings,
            "state": claim.state,
            "reason": claim.reason,
            "since": claim.since,
            "created_at": claim.created_at,
            "next_step": _next_step(source, row, run, verdict, publication),
            "gpu_seconds": claim.gpu_seconds,
            "reproduction": run,
            "verdict": verdict,
            "badge": badge_summary(row.badge) if row.badge else None,
            "publication": publication,
            "stale": claim.stale_reason is not None,
            "stale_reason": claim.stale_reason,
            "supersedes": claim.supersedes,
            "superseded_by": claim.superseded_by,
        }
    )


def _next_step(
    source: Source,
    row: ClaimRow,
    run: ReproductionSummary | None,
    verdict: VerdictSummary | None,
    publication: PublicationView | None,
) -> str:
    claim, badge = row.claim, row.badge
    if claim.superseded_by:
        return superseded_step(claim.superseded_by)
    if claim.state == ClaimState.BLOCKED:
        return blocked_step(claim.recheck_at, awaits_approval=claim.awaits_approval)
    if claim.state == ClaimState.DECIDED and verdict is not None:
        if badge is not None and badge.revoked_at is not None:
            return revoked_step(badge.revoked_reason or "", publication)
        if verdict.outcome is Outcome.VERIFIED and claim.stale_reason is not None:
            return STALE
    return next_step(claim.state, run, verdict, publication, publishes=source.policy.publish.mode != "off")


def run_summary(source: Source, run: Run) -> ReproductionSummary:
    """A reproduction, and how far it is."""
    return ReproductionSummary.model_validate(run_facts(source, run))


def run_facts(source: Source, run: Run) -> dict[str, Any]:
    """The fields of a `ReproductionSummary`."""
    row, attempt = run.reproduction, run.attempt
    return {
        "id": row.reproduction_id,
        "state": row.state,
        "reason": row.reason,
        "since": row.since,
        "created_at": row.created_at,
        "model": row.model_id,
        "model_revision": row.model_revision,
        "dataset": row.dataset_id,
        "dataset_revision": row.dataset_revision,
        "task": row.task_id,
        "spec_sha256": row.spec_sha256,
        "seed": row.seed,
        "pool": row.pool,
        "queue_position": run.queue_position,
        "waits_for": _waits_for(run),
        "not_before": row.not_before,
        "attempt": row.attempt,
        "worker": row.worker,
        "stage": attempt.stage if attempt else None,
        "samples_done": attempt.samples_done if attempt else 0,
        "samples_total": attempt.samples_total if attempt else None,
        "score": attempt.score if attempt else None,
        "score_interval": interval_so_far(attempt.score, attempt.samples_done) if attempt else None,
        "evidence_sha256": row.evidence_sha256,
        "evidence_url": evidence_url(source.settings.public_url, row.evidence_sha256) if row.evidence_sha256 else None,
    }


def _waits_for(run: Run) -> str | None:
    row = run.reproduction
    if run.queue_position is None:
        return None
    if row.set_aside:
        return row.reason.removeprefix(WAITS_FOR)
    if row.not_before is not None and row.not_before > now():
        return f"its next attempt, not before {row.not_before:%Y-%m-%d %H:%M:%S} UTC"
    place = f"a worker of pool {row.pool}, number {run.queue_position} there"
    return f"{place}; {run.trouble}" if run.trouble else place


def attempt_view(attempt: Attempt) -> AttemptView:
    """One try at a reproduction."""
    return AttemptView(
        number=attempt.number,
        worker=attempt.worker,
        dispatched_at=attempt.dispatched_at,
        started_at=attempt.started_at,
        alive_at=attempt.alive_at,
        stage=attempt.stage,
        samples_done=attempt.samples_done,
        samples_total=attempt.samples_total,
        score=attempt.score,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        detail=attempt.detail,
    )


def measurement_view(stored: dict[str, Any]) -> MeasurementView:
    """What was measured, less the score of each sample."""
    found = read_known(Measurement, stored)
    return MeasurementView(
        scorer=found.scorer,
        score=found.score,
        standard_error=found.standard_error,
        samples_used=len(found.scored),
        population=found.population,
        failed=found.failed,
        truncated=found.truncated,
        unparsed=found.unparsed,
        ignored=found.ignored,
        other_scorers=found.other_scorers,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        started_at=found.started_at,
        ended_at=found.ended_at,
        circumstances=found.circumstances,
    )


def how_to_repeat(row: Reproduction, circumstances: Circumstances) -> dict[str, str]:
    """The field of a `ReproductionView` with the command that repeats a run on every sample, or why there is none."""
    if row.spec_refusal is not None:
        return {"not_repeatable": not_repeatable(row.spec_refusal)}
    run = Repeated(
        model_id=row.model_id,
        model_revision=row.model_revision,
        dataset_id=row.dataset_id,
        dataset_revision=row.dataset_revision,
        task_id=row.task_id,
        circumstances=circumstances,
    )
    return {"repeat_command": folded_command(run)}


def verdict_summary(row: VerdictRow) -> VerdictSummary:
    """What became of a claim."""
    verdict = read_known(Verdict, row.verdict)
    return VerdictSummary(
        outcome=verdict.outcome,
        reason=verdict.reason,
        comparison=verdict.comparison,
        decided_at=row.decided_at,
        likely_reasons=verdict.likely_reasons,
    )


def badge_summary(row: Badge) -> BadgeSummary:
    """A badge, by its id."""
    return BadgeSummary(id=row.badge_id, signed_at=row.signed_at, revoked=row.revoked_at is not None)


def publication_view(row: Publication) -> PublicationView:
    """What stands on the Hub, or will."""
    return PublicationView.model_validate(row, from_attributes=True)
