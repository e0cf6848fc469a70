"""Going on from the partial log of an earlier attempt, where it is one of the very same measurement.

Inspect does the rest: given an earlier log of a task, it takes over every answer that has no error and asks for the
others (`inspect_ai/_eval/task/run.py`, `eval_log_sample_source`, 0.3.285), as its `eval-retry` does. `eval_retry`
itself loads the task from the registry by a name in the log, and ours is made here.
"""

from __future__ import annotations

import json
import secrets
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai._eval.task.task import PreviousTask
from inspect_ai._util.json import to_json_safe
from inspect_ai._util.zipfile import zipfile_compress_kwargs
from inspect_ai.log import EvalLog, EvalLogInfo, EvalSample, EvalSampleSummary

from specs.errors import EvidenceError
from specs.logs.run_log import RunLog
from specs.logs.scoring import is_broken_off
from specs.measurement import Resumed
from specs.text import clean

RESUMED = "resumed"
"""In a log's metadata: the partial log that its run went on from."""

_NOT_IN_SHORT: Mapping[str, Any] = {"events": [], "attachments": {}, "store": {}}
"""Of an answer, what its summary says nothing of, and most of what there is."""


@dataclass(frozen=True)
class Earlier:
    """An earlier attempt whose answers count for this one too."""

    log: Path
    """With the answers that are taken over and no others: an answer that is asked again must not be in it, as Inspect
    would leave both in the log of this run."""

    header: EvalLog
    resumed: Resumed

    def answers(self) -> Iterator[EvalSample]:
        """Those that are taken over."""
        with RunLog(self.log) as log:
            yield from log.answers()

    def as_previous(self, task: Task) -> PreviousTask:
        """What Inspect wants for running a task on from there. Of the log's own words, nothing names a file to it."""
        said = self.header.eval.model_copy(update={"task_file": None, "sandbox": None, "viewer": None})
        size = self.log.stat().st_size
        return PreviousTask(
            id=secrets.token_hex(11),
            task=task,
            task_args={},
            model=None,
            model_roles=None,
            sandbox=None,
            log=self.header.model_copy(update={"eval": said, "location": str(self.log)}),
            log_info=EvalLogInfo(
                name=str(self.log), type="file", size=size, mtime=None, task="", task_id="", suffix=None
            ),
        )


@dataclass(frozen=True)
class Wanted:
    """What a partial log must be of."""

    metadata: Mapping[str, Any]
    """What this run's own log will say of it."""

    targets: Mapping[int | str, str | list[str]]
    """Of the samples that are to be run, by id."""

    epochs: int


def earlier_attempt(log: Path, sha256: str, wanted: Wanted, kept: Path) -> Earlier:
    """The earlier attempt in `log`, where it is one of this very measurement.

    Args:
        log: a partial log, whose digest was checked.
        sha256: that digest.
        wanted: what it must be of.
        kept: where to write a log with what is taken over.

    Raises:
        EvidenceError: it is not, or cannot be read; says why.
    """
    answered: Counter[int | str] = Counter()
    summaries: list[EvalSampleSummary] = []
    with RunLog(log) as run_log, zipfile.ZipFile(kept, "w", **zipfile_compress_kwargs) as copy:
        header = run_log.header()
        if header.status != "cancelled" or header.invalidated:
            raise EvidenceError(f"it is of a run of status {header.status}, not of one that was stopped")
        _check_same(header, wanted)
        for content, answer in run_log.whole_answers():
            if answer.id not in wanted.targets or not 1 <= answer.epoch <= wanted.epochs:
                raise EvidenceError(f"it holds sample {clean(str(answer.id), 60)}, which is none of this run")
            if answer.target != wanted.targets[answer.id]:
                raise EvidenceError(f"its sample {answer.id} has another target than the dataset's")
            if _is_finished(answer):
                # By the name that Inspect looks for, whatever it was called.
                copy.writestr(f"samples/{answer.id}_epoch_{answer.epoch}.json", content)
                answered[answer.id] += 1
                summaries.append(_summary(content))
        if not summaries:
            raise EvidenceError("no answer in it is finished")
        copy.writestr("summaries.json", to_json_safe(summaries, indent=None))
    samples = sum(count == wanted.epochs for count in answered.values())
    return Earlier(kept, header, Resumed(sha256=sha256, answers=len(summaries), samples=samples))


def finished(log: Path) -> Counter[int | str]:
    """How many finished answers a partial log has, by sample."""
    answered: Counter[int | str] = Counter()
    with RunLog(log) as run_log:
        for answer in run_log.answers():
            answered[answer.id] += _is_finished(answer)
    return answered


def _is_finished(answer: EvalSample) -> bool:
    # An engine that goes down with its node ends what it is at by breaking it off, and that is no error to Inspect.
    return answer.error is None and not is_broken_off(answer)


def _summary(content: bytes) -> EvalSampleSummary:
    """What Inspect says in short of an answer; it takes over those that have a summary.

    The log's own summaries are one file of all answers: of a large task more than is read of one file.
    """
    try:
        whole = EvalSample.model_validate({**json.loads(content), **_NOT_IN_SHORT})
        return whole.summary()
    except Exception as error:  # beside pydantic's, whatever Inspect's own validators stumble over
        raise EvidenceError(f"an answer in it is not a sample of Inspect's: {clean(str(error), 200)}") from error


def _check_same(header: EvalLog, wanted: Wanted) -> None:
    """Answers from other circumstances would make another measurement of which nobody knows what it measured."""
    said = header.eval.metadata or {}
    for name, value in wanted.metadata.items():
        found = said.get(name)
        if found == value:
            continue
        if isinstance(found, dict) and isinstance(value, dict):
            keys = [key for key in value if found.get(key) != value[key]] or sorted(map(str, set(found) - set(value)))
            name = ", ".join(key.replace("_", " ") for key in keys)  # noqa: PLW2901 - the narrower name
        raise EvidenceError(f"it was made with another {clean(name, 200)}")
    if (header.eval.config.epochs or 1) != wanted.epochs:
        raise EvidenceError("it was made with another number of epochs")
