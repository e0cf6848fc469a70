"""eval.yaml: how a benchmark's tasks are run, and whether this farm can.

Format: https://huggingface.co/docs/hub/eval-results and Inspect's `HFTask` (inspect_ai/_eval/task/hf.py, 0.3.285),
which reads the same file and has the last word on what runs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from specs.bounded_yaml import load
from specs.errors import YamlError
from specs.hub.frameworks import INSPECT_AI, unsupported_sentence
from specs.hub.task_spec import SpecStatus, TaskSpec, read_id, worst
from specs.text import clean

__all__ = ["Spec", "SpecStatus", "TaskSpec", "parse"]

MAX_REFUSAL_CHARS = 2000
_TASK_KEYS = ("field_spec", "solvers", "scorers")


@dataclass(frozen=True)
class Spec:
    """An eval.yaml."""

    status: SpecStatus
    name: str | None
    description: str | None
    tasks: tuple[TaskSpec, ...]
    reasons: tuple[str, ...]
    """Why the file is not simply runnable: its own reasons and those of its tasks."""

    warnings: tuple[str, ...]
    """About the file as a whole; each task has its own."""

    sha256: str
    """Of the exact bytes, in hex."""

    def task(self, task_id: str | None) -> TaskSpec | None:
        """The task of that id; for None the only task, if there is only one."""
        if task_id is None:
            return self.tasks[0] if len(self.tasks) == 1 else None
        return next((task for task in self.tasks if task.id == task_id), None)

    @property
    def refused_by_inspect(self) -> str | None:
        """Why Inspect's own loader refuses the file, sound tasks and all: it reads every task before it runs one."""
        reasons = [reason for task in self.tasks if task.unreadable for reason in task.reasons]
        return clean("; ".join(reasons), MAX_REFUSAL_CHARS) or None


def parse(text: bytes) -> Spec:
    """Read and classify an eval.yaml. Never raises on what the file holds: faults become reasons."""
    sha256 = hashlib.sha256(text).hexdigest()
    try:
        data = load(text)
    except YamlError as error:
        return _refused(str(error), sha256)
    if not isinstance(data, dict):
        return _refused("the top level must be a mapping with name, evaluation_framework and tasks", sha256)
    return _parse_mapping(data, sha256)


def _refused(reason: str, sha256: str) -> Spec:
    return Spec(SpecStatus.INVALID, None, None, (), (reason,), (), sha256)


def _parse_mapping(data: Mapping[object, object], sha256: str) -> Spec:
    reasons: list[str] = []
    warnings: list[str] = []
    framework = data.get("evaluation_framework")
    if framework is None:
        warnings.append("evaluation_framework is missing; the Hub asks for it (inspect-ai, for a file like this)")
    elif not isinstance(framework, str):
        reasons.append(f"evaluation_framework must be a name, not {clean(repr(framework), 60)}")
    framework = clean(framework, 100) if isinstance(framework, str) else None
    reasons += _misplaced(data)
    items = data.get("tasks")
    if not isinstance(items, list) or not items:
        reasons.append(f"tasks must be a list with at least one task{_other_schema(data)}")
        items = []
    tasks = _with_usable_ids(_parse_tasks(items, framework))
    if "metrics" in data:
        warnings.append("metrics at the top level is of an older format and is ignored; the scorers decide the metric")
    name, description = (_line(data, key, warnings) for key in ("name", "description"))
    status = worst([SpecStatus.INVALID] if reasons else [], (task.status for task in tasks))
    if framework not in (None, INSPECT_AI):
        reasons.append(unsupported_sentence(str(framework)))
    reasons += [reason for task in tasks for reason in task.reasons if reason not in reasons]
    return Spec(status, name, description, tasks, tuple(reasons), tuple(warnings), sha256)


def _parse_tasks(items: Sequence[object], framework: str | None) -> tuple[TaskSpec, ...]:
    if framework in (None, INSPECT_AI):
        # Imports inspect_ai, three seconds and 90 MB: only who reads a spec that Inspect could run pays for it.
        from specs.hub.inspect_tasks import read_task  # noqa: PLC0415

        return tuple(read_task(index, item) for index, item in enumerate(items))
    reason = unsupported_sentence(str(framework))
    return tuple(_foreign_task(index, item, reason) for index, item in enumerate(items))


def _foreign_task(index: int, item: object, reason: str) -> TaskSpec:
    raw = item if isinstance(item, dict) else {}
    task_id, id_reasons = read_id(index, item)
    status = SpecStatus.INVALID if id_reasons else SpecStatus.UNSUPPORTED
    return TaskSpec(task_id, status, id_reasons or (reason,), (), None, (), raw)


def _with_usable_ids(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """The tasks, those that could not be told apart being invalid."""
    counts = Counter(task.id for task in tasks)

    def checked(index: int, task: TaskSpec) -> TaskSpec:
        unreadable = task.unreadable
        if task.id is None and len(tasks) > 1 and task.raw.get("id") is None:
            unreadable = True
            reason = f"tasks[{index}]: id is required where there is more than one task"
        elif task.id is not None and counts[task.id] > 1:
            reason = f"tasks[{index}].id: '{task.id}' is the id of {counts[task.id]} tasks"
        else:
            return task
        reasons = (*task.reasons, reason)
        return replace(task, status=SpecStatus.INVALID, definition=None, reasons=reasons, unreadable=unreadable)

    return tuple(checked(index, task) for index, task in enumerate(tasks))


def _misplaced(data: Mapping[object, object]) -> list[str]:
    found = [key for key in _TASK_KEYS if key in data]
    if not found:
        return []
    return [f"{', '.join(found)} at the top level: they belong inside each item of tasks"]


def _other_schema(data: Mapping[object, object]) -> str:
    if "task_path" in data or "title" in data:
        return "; title and task_path belong to another tool's eval.yaml"
    if "task" in data:
        return "; `task` is another tool's key, the Hub reads `tasks`"
    return ""


def _line(data: Mapping[object, object], key: str, warnings: list[str]) -> str | None:
    value = data.get(key)
    if isinstance(value, str) and value.strip():
        return clean(value, 2_000)
    warnings.append(f"{key} is missing; the Hub asks for it" if value is None else f"{key} is no text and is left out")
    return None
