"""Reproductions that complete without a worker: what was measured is said by the test."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import select

from scheduler.collect.ending import close
from scheduler.database.tables import Attempt, Reproduction
from scheduler.dispatch.dispatcher import dispatch
from scheduler.farm import Farm
from scheduler.judging.comparing import judge_claims
from scheduler.judging.stopping import stopping_of
from scheduler.record import move_reproduction
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.sample_order import seeded_order
from specs.messages import AttemptOutcome
from tests.support.rows import measurement
from tests.support.scheduler import ControlPlane

SAMPLES = 200


def complete(plane: ControlPlane | Farm, right: int, **more: Any) -> str:
    """Send out what is queued, and have the latest run find `right` of 200 answers right; returns its id."""
    dispatch(plane.database, plane.policy)
    with plane.database.transaction() as session:
        run = session.scalars(
            select(Reproduction)
            .where(Reproduction.state == ReproductionState.DISPATCHED)
            .order_by(Reproduction.created_at.desc())
        ).all()[0]
        assert run.seed is not None
        # Spread evenly over the order, so that no prefix is far from the whole.
        scores = tuple(float((n + 1) * right // SAMPLES > n * right // SAMPLES) for n in range(SAMPLES))
        circumstances = {"seed": run.seed, **more.pop("circumstances", {})}
        found = measurement()
        measured = found.model_copy(
            update={
                "score": right / SAMPLES,
                "standard_error": 0.03,
                "population": SAMPLES,
                "sample_ids": tuple(seeded_order(range(1, SAMPLES + 1), run.seed)),
                "sample_scores": scores,
                "circumstances": found.circumstances.model_copy(update=circumstances),
                **more,
            }
        )
        close(session, run, AttemptOutcome.COMPLETED, "")
        run.measurement, run.complete = measured.model_dump(mode="json"), True
        run.evidence_sha256, run.evidence_bytes = secrets.token_hex(32), 1
        move_reproduction(session, run, ReproductionState.COMPLETED, "all samples scored")
        session.get_one(Attempt, (run.reproduction_id, run.attempt)).samples_done = SAMPLES
        waiting = [claim for claim in run.claims if claim.state == ClaimState.PLANNED]
        judge_claims(session, waiting, run, measured, stopping_of(run))
        return run.reproduction_id
