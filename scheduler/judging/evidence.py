"""The control plane reads the evidence itself before it believes a report.

It shows that the log which everybody can fetch bears out every figure of the report. It cannot show that the log is
honest: whoever controls a worker can write one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

from inspect_ai.log import EvalLog
from pydantic import ValidationError
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_exponential

from specs.epochs import MEAN
from specs.errors import EvidenceAway, EvidenceError
from specs.judging.sample_order import seeded_order
from specs.judging.stopping import Stopping
from specs.logs.evidence import MAX_LOG_BYTES
from specs.logs.run_log import RunLog
from specs.logs.run_scores import RunScores, mean_of, run_scores, scorer_names, standard_error_of
from specs.logs.scoring import reducer_of
from specs.measurement import Circumstances, Evidence, Measurement, Resumed
from specs.messages import Report
from specs.processes.evidence_store import copy_log, evidence_store, open_log
from specs.text import clean

READS = 3
"""Tries at a store that stumbles, a second and two apart."""

# Of a copy. Most logs are smaller, and a file of its own for each would cost more than to read it.
_IN_MEMORY_BYTES = 4 * 2**20
# What summing in another order can change.
_ROUNDING = 1e-9


class MissingEvidenceError(EvidenceError):
    """The store can be read, and does not have the log."""


def check_evidence(evidence_url: str, report: Report, stopping: Stopping | None) -> Measurement:
    """Check that the log that a completed report names bears it out; its measurement, whole.

    What the report does not say of the measurement, as that of an earlier version's worker, is as the log has it.

    1. The report names a log of a size that this farm reads.
    2. The store under `evidence_url` holds that log: its size and its SHA-256 are those of the report.
    3. It is an Inspect log within limits, of a run that succeeded and was not declared invalid.
    4. By its own account it ran the model, the task, the epochs and the dataset size that the report states, under the
       circumstances that it states (seed, sampling settings, versions and all others), went on from the partial log
       that the report names, if any, and was to stop by what was ordered, `stopping`: so anyone can judge it again.
    5. The samples that count are the first of all in the order that the seed gives.
    6. Read from the log, the score of each sample over its epochs, and the counts of truncated and unparsed answers, of
       those that the context cut off or that have thoughts before them, and of samples that do not count, are those of
       the report.
    7. The report's score, standard error and means of further scorers follow from them.

    Raises:
        EvidenceError: the first check that fails, in words; `MissingEvidenceError` where the log is not there.
        EvidenceAway: the store cannot be read now, so nothing can be said of the report.
    """
    evidence, measured = report.evidence, report.measurement
    if evidence is None or measured is None:
        raise EvidenceError("the report names no log or no measurement")
    if evidence.size_bytes > MAX_LOG_BYTES:
        raise EvidenceError(f"the log has {evidence.size_bytes} bytes; this farm reads {MAX_LOG_BYTES} at most")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, prefix="reprofarm-evidence-") as copy:
        _fetch(evidence_url, evidence, copy)
        with RunLog(copy) as log:
            header = log.header()
            scorers = _check_header(header, report, measured, stopping)
            _check_order(measured)
            found = run_scores(
                log.answers(),
                scorers,
                measured.sample_ids,
                measured.circumstances.epochs,
                _reducer(header),
                own=header,
            )
    _check_scores(found, scorers, measured)
    by_context = found.cut_by_context(measured.circumstances.generation.max_tokens)
    # A worker of an earlier version does not say these, and who hides them must gain nothing by it.
    for what, in_log, in_report in (
        ("answers with thoughts before them", found.thoughts, measured.thoughts),
        ("answers cut off by the context", by_context, measured.cut_by_context),
    ):
        if in_report not in (None, in_log):
            raise EvidenceError(f"the log gives {in_log} {what}; the report says {in_report}")
    return measured.model_copy(
        update={
            "thoughts": found.thoughts,
            "cut_by_context": by_context,
            "circumstances": _with_reducer(measured.circumstances, _reducer(header)),
        }
    )


def _fetch(evidence_url: str, evidence: Evidence, copy: IO[bytes]) -> None:
    # Hours of work hang on this one read, so a store that stumbles gets another chance.
    patience = Retrying(
        stop=stop_after_attempt(READS),
        wait=wait_exponential(),
        retry=retry_if_not_exception_type((EvidenceError, FileNotFoundError)),
        reraise=True,
    )
    try:
        files, root = evidence_store(evidence_url)
        try:
            for attempt in patience:
                with attempt, open_log(files, root, evidence.sha256) as source:
                    _copy(source, evidence, copy)
        except FileNotFoundError as error:
            # A volume that is not mounted has no log of anybody's.
            if not files.exists(root):
                raise EvidenceAway(f"there is no evidence store at {clean(root, 200)}") from error
            raise MissingEvidenceError(f"the log {evidence.sha256} is not in the evidence store") from error
    except (EvidenceError, EvidenceAway):
        raise
    except Exception as error:  # every remote store has errors of its own
        raise EvidenceAway(f"the evidence store cannot be read: {_said(error)}") from error


def _copy(source: Any, evidence: Evidence, copy: IO[bytes]) -> None:
    # What an earlier try left.
    copy.seek(0)
    copy.truncate()
    if not copy_log(source, evidence, copy):
        raise EvidenceError("the log in the evidence store is another one than the report names")


def _check_header(header: EvalLog, report: Report, measured: Measurement, stopping: Stopping | None) -> list[str]:
    """Steps 3 and 4; the names of the log's scorers."""
    if header.status != "success" or header.invalidated:
        state = "declared invalid" if header.invalidated else f"of status {header.status}"
        raise EvidenceError(f"the log is that of a run {state}, not of a success")
    said = header.eval.metadata or {}
    ran = measured.circumstances
    scorers, reducer = scorer_names(header), _reducer(header)
    for what, in_log, in_report in (
        ("model", said.get("model"), report.model.model_dump(mode="json")),
        ("model's name", header.eval.model, f"vllm/{report.model.model_id}"),
        ("task", said.get("task"), report.task.model_dump(mode="json")),
        ("seed", said.get("seed"), ran.seed),
        ("sampling settings", said.get("generation"), ran.generation.model_dump(mode="json")),
        ("number of epochs", header.eval.config.epochs or 1, ran.epochs),
        ("reducer of epochs", reducer, ran.epoch_reducer or reducer),
        *_other_circumstances(said, ran),
        ("number of samples in the dataset", header.eval.dataset.samples, measured.population),
        ("digest of targets", said.get("targets_sha256", measured.targets_sha256), measured.targets_sha256),
        ("earlier attempt that it went on from", said.get("resumed"), _as_json(measured.resumed)),
        ("first scorer", next(iter(scorers), None), measured.scorer),
        ("list of further scorers", sorted(scorers[1:]), sorted(measured.other_scorers)),
    ):
        if in_log != in_report:
            raise EvidenceError(f"the log's {what} is {_shown(in_log)}; the report says {_shown(in_report)}")
    if said.get("stopping") != _as_json(stopping):
        raise EvidenceError("the log does not state that it was to stop by what was ordered")
    return scorers


def _other_circumstances(said: dict[str, Any], ran: Circumstances) -> Iterator[tuple[str, object, object]]:
    """Of each circumstance its name, what the log states and what the report says; but for the reducer of epochs."""
    stated = said.get("circumstances")
    for name, in_report in ran.model_dump(mode="json", exclude={"epoch_reducer"}).items():
        field = Circumstances.model_fields[name]
        # What a worker of an earlier version does not know, it states nowhere.
        left_out = None if field.is_required() else field.default
        yield name.replace("_", " "), stated.get(name, left_out) if isinstance(stated, dict) else left_out, in_report


def _with_reducer(ran: Circumstances, reducer: str) -> Circumstances:
    if ran.epoch_reducer is not None:
        return ran
    try:
        return Circumstances.model_validate({**ran.model_dump(), "epoch_reducer": reducer})
    except ValidationError as error:
        raise EvidenceError(f"the log names a reducer as no run of a farm's does: {_shown(reducer)}") from error


def _as_json(stated: Resumed | Stopping | None) -> dict[str, Any] | None:
    return stated.model_dump(mode="json") if stated is not None else None


def _check_order(measured: Measurement) -> None:
    order = seeded_order(range(1, measured.population + 1), measured.circumstances.seed)
    if list(measured.sample_ids) != order[: len(measured.sample_ids)]:
        raise EvidenceError("the samples are not the first in the order that the seed gives")


def _reducer(header: EvalLog) -> str:
    """Inspect's name of what makes one score of a sample's epochs."""
    name = (header.eval.config.epochs_reducer or [MEAN])[0]
    try:
        reducer_of(name)
    except (LookupError, ValueError, TypeError) as error:
        raise EvidenceError(f"the log names a reducer that Inspect does not have: {_shown(name)}") from error
    return name


def _check_scores(found: RunScores, scorers: list[str], measured: Measurement) -> None:
    first = found.by_scorer[scorers[0]]
    for sample_id, in_log, in_report in zip(measured.sample_ids, first, measured.sample_scores, strict=True):
        if not _close(in_log, in_report):
            raise EvidenceError(f"sample {sample_id} scored {in_log} in the log; the report says {in_report}")
    for what, in_log, in_report in (
        ("score", mean_of(first), measured.score),
        ("standard error", standard_error_of(first), measured.standard_error),
        ("number of truncated answers", found.truncated, measured.truncated),
        ("number of unparsed answers", found.unparsed, measured.unparsed),
        ("number of samples that do not count", found.ignored, measured.ignored),
        *((f"mean by {name}", mean_of(found.by_scorer[name]), measured.other_scorers[name]) for name in scorers[1:]),
    ):
        if not _close(in_log, in_report):
            raise EvidenceError(f"the log gives a {clean(what, 100)} of {in_log}; the report says {in_report}")


def _close(left: float | None, right: float | None) -> bool:
    return left == right if left is None or right is None else abs(left - right) <= _ROUNDING


def _shown(value: object) -> str:
    return clean(repr(value), 300)


def _said(error: Exception) -> str:
    return clean(f"{type(error).__name__}: {error}", 300)
