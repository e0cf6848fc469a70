"""What earlier reproductions, and the logs that claims link to, say about the samples of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, select
from sqlalchemy.orm import Session

from scheduler.admission.run_settings import RunSettings
from scheduler.database.tables import Claim, Reproduction
from scheduler.state_machine import ReproductionState
from scheduler.stored_values import read
from specs.judging.history import from_earlier_runs, from_same_claim
from specs.judging.sample_order import seeded_order
from specs.judging.stopping import LinkedTo
from specs.judging.stopping_rule import Predictor
from specs.logs.linked_log import LinkedLog
from specs.measurement import SampleId, stored_scores

EARLIER_RUNS = 24
"""The latest runs on a task that are looked at: more cost reading and add little."""


class EarlierRuns:
    """Completed reproductions, asked for once a task: what is sent out together has much of it in common."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[tuple[str, str, str | None], list[EarlierRun]] = {}
        self._sent: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def of(self, reproduction: Reproduction) -> list[EarlierRun]:
        """The latest of any model on the very same samples, newest first."""
        task = (reproduction.dataset_id, reproduction.dataset_revision, reproduction.task_id)
        if task not in self._found:
            asked = dict(zip(("dataset_id", "dataset_revision", "task_id"), task, strict=True))
            earlier = _EARLIER if reproduction.task_id is not None else _EARLIER_OF_THE_ONLY_TASK
            self._found[task] = [EarlierRun(*row) for row in self._session.execute(earlier, asked)]
        return self._found[task]

    def one_was_sent(self, reproduction: Reproduction) -> bool:
        """Whether another run of its key was sent out, as `was_sent` has it."""
        of = (reproduction.weights_sha256, reproduction.dataset_id)
        if of not in self._sent:
            asked = dict(zip(("weights_sha256", "dataset_id"), of, strict=True))
            self._sent[of] = {(key, name) for key, name in self._session.execute(_SENT, asked)}
        return any(key == reproduction.key and name != reproduction.reproduction_id for key, name in self._sent[of])


def predictors_for(
    runs: EarlierRuns, reproduction: Reproduction, settings: RunSettings, claims: list[Claim]
) -> tuple[tuple[Predictor, ...], LinkedTo | None]:
    """Predictors in the order of the reproduction's seed, and the linked log whose scores are the first, if any.

    Best is a run that is said to be of the very same model: the log that a claim links to, else an earlier reproduction
    of every sample. None of it can change a verdict, so nothing here has to be trusted.
    """
    earlier = runs.of(reproduction) if settings.history else []
    samples = int(earlier[0].measurement["population"]) if earlier and earlier[0].measurement else None
    linked = _linked_log(claims, samples)
    if linked is not None:
        samples = len(linked.scores)
    if samples is None or reproduction.seed is None:
        return (), None
    order: list[SampleId] = list(seeded_order(range(1, samples + 1), reproduction.seed))
    others = [stored_scores(run.measurement or {}) for run in earlier]
    if linked is not None:
        guide = LinkedTo(log_sha256=linked.sha256, targets_sha256=linked.targets_sha256)
        return from_same_claim(order, dict(enumerate(linked.scores, start=1)), others), guide
    for run, scores in zip(earlier, others, strict=True):
        whole = len(scores) == samples and None not in scores.values()
        if whole and run.model_id == reproduction.model_id:
            return from_same_claim(order, scores, [other for other in others if other is not scores]), None
    return from_earlier_runs(order, others), None


class EarlierRun(NamedTuple):
    """One of them."""

    model_id: str
    measurement: dict[str, Any] | None


def _earlier(task: ColumnElement[bool]) -> Select[tuple[str, dict[str, Any] | None]]:
    """Made once: every reproduction that is sent out asks it."""
    return (
        select(Reproduction.model_id, Reproduction.measurement)
        .where(
            Reproduction.dataset_id == bindparam("dataset_id"),
            Reproduction.dataset_revision == bindparam("dataset_revision"),
            task,
            Reproduction.state == ReproductionState.COMPLETED,
        )
        .order_by(Reproduction.since.desc())
        .limit(EARLIER_RUNS)
    )


# PostgreSQL looks for "is not distinct from" in no index.
_EARLIER = _earlier(Reproduction.task_id == bindparam("task_id"))
_EARLIER_OF_THE_ONLY_TASK = _earlier(Reproduction.task_id.is_(None))


def was_sent() -> ColumnElement[bool]:
    """Whether a run was sent out, did not fail, and has not every sample.

    A run that was cancelled is among them: whose claim it was may have seen how it went.
    """
    return and_(Reproduction.seed.is_not(None), ~Reproduction.complete, Reproduction.state != ReproductionState.FAILED)


_SENT = select(Reproduction.key, Reproduction.reproduction_id).where(
    Reproduction.weights_sha256 == bindparam("weights_sha256"),
    Reproduction.dataset_id == bindparam("dataset_id"),
    was_sent(),
)


def _linked_log(claims: list[Claim], samples: int | None) -> LinkedLog | None:
    """The first linked log that has as many samples as the task is known to have; that of an author's claim if any.

    Else whoever claims something about another's model could make its run longer by a log that is none.
    """
    for claim in sorted(claims, key=lambda each: (each.pull_request is not None, each.claim_id)):
        stored = (claim.linked_log or {}).get("log")
        if stored is not None:
            log = read(LinkedLog, stored, f"the log that claim {claim.claim_id} links to")
            if samples in (None, len(log.scores)):
                return log
    return None
