"""The eval.yaml of a fetched dataset, as it was when the reproduction was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inspect_ai._eval.task.hf import HFTask

from specs.bounded_yaml import MAX_BYTES
from specs.hub.eval_yaml import SpecStatus, parse
from specs.messages import TaskRef
from specs.policy.judges import JudgeEndpoint
from workers.errors import SpecError

FILE_NAME = "eval.yaml"
_RUNNABLE = frozenset({SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE})


@dataclass(frozen=True)
class RunnableTask:
    """A task, and who judges in it."""

    definition: HFTask
    judges: tuple[str | None, ...]
    """As the spec names them; None is the evaluated model itself."""


def load_task(
    folder: Path, ref: TaskRef, judges: Mapping[str, JudgeEndpoint], *, allow_self_judge: bool
) -> RunnableTask:
    """The definition of a task that this farm can run, with a judge for everything that wants judging.

    Raises:
        SpecError: the file is another one than planned for, or the task cannot be run; says why.
        OSError: this machine cannot read it, which its author cannot help.
    """
    file = folder / FILE_NAME
    try:
        with file.open("rb") as content:
            # One byte more than allowed is enough to be refused.
            text = content.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SpecError(f"the dataset has no {FILE_NAME} at its top level") from error
    spec = parse(text)
    if spec.sha256 != ref.spec_sha256:
        raise SpecError(f"{FILE_NAME} has the SHA-256 {spec.sha256}; this reproduction is of {ref.spec_sha256}")
    task = spec.task(ref.task_id)
    if task is None:
        known = ", ".join(str(each.id) for each in spec.tasks) or "none"
        raise SpecError(f"{FILE_NAME} defines no task {ref.task_id!r}; it defines {known}. {'; '.join(spec.reasons)}")
    if task.definition is None or task.status not in _RUNNABLE:
        raise SpecError(f"task {ref.task_id!r} cannot be run: {'; '.join(task.reasons)}")
    for judge in task.judges:
        if judge is None and not allow_self_judge:
            raise SpecError("the spec names no judge, and policy does not let a model judge itself")
        if judge is not None and judge not in judges:
            raise SpecError(f"needs the judge {judge}, for which policy has no endpoint")
    return RunnableTask(task.definition, task.judges)
