"""Whether a verdict still describes what the repos hold now."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler.database.tables import Benchmark, Claim, Model, Reproduction


def is_stale(session: Session, claim: Claim, reproduction: Reproduction) -> bool:
    """Whether the model's weights or the benchmark are others by now than those that were run.

    A claim that pins a revision of the benchmark is about that one. A claim on a pull request is about its weights.
    """
    model = session.get(Model, claim.model_id)
    changed = model is None or model.revision is None or model.weights_sha256 != reproduction.weights_sha256
    if changed and claim.pull_request is None:
        return True
    benchmark = session.get(Benchmark, reproduction.dataset_id)
    moved = benchmark is not None and benchmark.revision != reproduction.dataset_revision
    return moved and claim.dataset_revision is None
