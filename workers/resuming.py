"""Going on from the partial log of an earlier attempt, where it is one of the very same measurement.

Inspect does the rest: given an earlier log of a task, it takes over every answer that has no error and asks for the
others (`inspect_ai/_eval/task/run.py`, `eval_log_sample_source`, 0.3.285), as its `eval-retry` does. `eval_retry`
itself loads the task from the registry by a name in the log, and ours is made here.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai._eval.task.task import PreviousTask
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalLog, EvalLogInfo, EvalSample

from specs.errors import EvidenceError
from specs.measurement import Resumed
from specs.run_log import RunLog
from specs.text import clean

RESUMED = "resumed"
"""In a log's metadata: the partial log that its run went on from."""


@dataclass(frozen=True)
class Earlier:
    """An earlier attempt whose answers count for this one too."""

    log: Path
    header: EvalLog
    resumed: Resumed

    def answers(self) -> Iterator[EvalSample]:
        """Those that are taken over."""
        with RunLog(self.log) as log:
            yield from (answer for answer in log.answers() if answer.error is None)

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


def earlier_attempt(
    log: Path, sha256: str, metadata: Mapping[str, Any], dataset: MemoryDataset, epochs: int
) -> Earlier:
    """The earlier attempt in `log`, where it is one of this very measurement.

    Args:
        log: a partial log, whose digest was checked.
        sha256: that digest.
        metadata: what this run's own log will say of it.
        dataset: this run's samples, with ids, shuffled choices and limit applied.
        epochs: how often each is answered.

    Raises:
        EvidenceError: it is not, or cannot be read; says why.
    """
    targets = {sample.id: sample.target for sample in dataset.samples}
    answered: Counter[int | str] = Counter()
    with RunLog(log) as run_log:
        header = run_log.header()
        if header.status != "cancelled" or header.invalidated:
            raise EvidenceError(f"it is of a run of status {header.status}, not of one that was stopped")
        _check_same(header, metadata, epochs)
        for answer in run_log.answers():
            if answer.id not in targets or not 1 <= answer.epoch <= epochs:
                raise EvidenceError(f"it holds sample {clean(str(answer.id), 60)}, which is none of this run")
            if answer.target != targets[answer.id]:
                raise EvidenceError(f"its sample {answer.id} has another target than the dataset's")
            answered[answer.id] += answer.error is None
        run_log.check_other_files()
    if not answered.total():
        raise EvidenceError("no answer in it is finished")
    samples = sum(count == epochs for count in answered.values())
    return Earlier(log, header, Resumed(sha256=sha256, answers=answered.total(), samples=samples))


def finished(log: Path) -> Counter[int | str]:
    """How many finished answers a partial log has, by sample."""
    answered: Counter[int | str] = Counter()
    with RunLog(log) as run_log:
        for answer in run_log.answers():
            answered[answer.id] += answer.error is None
    return answered


def _check_same(header: EvalLog, metadata: Mapping[str, Any], epochs: int) -> None:
    """Answers from other circumstances would make another measurement of which nobody knows what it measured."""
    said = header.eval.metadata or {}
    for name, wanted in metadata.items():
        found = said.get(name)
        if found == wanted:
            continue
        if isinstance(found, dict) and isinstance(wanted, dict):
            keys = [key for key in wanted if found.get(key) != wanted[key]] or sorted(
                map(str, set(found) - set(wanted))
            )
            name = ", ".join(key.replace("_", " ") for key in keys)  # noqa: PLW2901 - the narrower name
        raise EvidenceError(f"it was made with another {clean(name, 200)}")
    if (header.eval.config.epochs or 1) != epochs:
        raise EvidenceError("it was made with another number of epochs")
