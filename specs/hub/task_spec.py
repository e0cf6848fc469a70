"""One task of an eval.yaml and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from specs.ids import MAX_TASK_ID_CHARS, is_task_id
from specs.policy.generation import GenerationSettings, greedy_by
from specs.text import clean

if TYPE_CHECKING:
    from inspect_ai._eval.task.hf import HFSolver, HFTask


class SpecStatus(StrEnum):
    """From best to worst; a file is as good as its worst task, because Inspect reads all or none."""

    RUNNABLE = "runnable"
    NEEDS_JUDGE = "needs_judge"
    """Runnable where a judge model can be had; the evaluated model itself counts as one where none is named."""

    UNSUPPORTED = "unsupported"
    """Sound, and never run by this farm."""

    INVALID = "invalid"
    """Cannot be run by anybody as it stands."""


@dataclass(frozen=True)
class TaskSpec:
    """One item of `tasks` and what can be done with it."""

    id: str | None
    """Free text; None where the file gives none that can be one."""

    status: SpecStatus
    reasons: tuple[str, ...]
    """Why it is not simply runnable, each with the place in the file."""

    warnings: tuple[str, ...]
    definition: HFTask | None
    """Inspect's own model of the task; None where it is invalid or of another framework."""

    judges: tuple[str | None, ...]
    """Models that grade or criticise answers, as the file names them; None is the evaluated model itself."""

    raw: Mapping[str, object]
    """The item as it stands in the file; empty where it is no mapping."""

    unreadable: bool = False
    """Whether Inspect's own loader refuses it, and with it the whole file."""


ANSWERING = frozenset({"generate", "multiple_choice"})
"""Solvers that ask the evaluated model for an answer, with settings of their own where the spec gives some."""

TURNS = ANSWERING | {"self_critique"}
"""Solvers after which there is another answer of the evaluated model's. That of the last is scored."""

JUDGING_SCORERS = frozenset({"model_graded_qa", "model_graded_fact"})
JUDGING = JUDGING_SCORERS | {"self_critique"}
"""Solvers and scorers whose argument `model` is a judge. Of a template's step it is one more thing to fill in."""


def turns_of(task: HFTask) -> list[HFSolver]:
    """The solvers of a task after each of which there is another answer."""
    return [solver for solver in task.solvers if solver.name in TURNS]


def answering_arguments(task: HFTask) -> dict[str, Any]:
    """What a spec says of how the answer is given that is scored: it goes before all other settings.

    Inspect gives each solver its own arguments and no others: those of an earlier turn say nothing of the last.
    """
    turns = turns_of(task)
    return turns[-1].args if turns else {}


def asks_the_same(task: HFTask) -> bool:
    """Whether every run asks the same: no choices are shuffled, and no earlier answer is part of what is asked."""
    turns = turns_of(task)
    return not task.shuffle_choices and len(turns) == 1 and turns[0].name in ANSWERING


def gives_one_seed(task: HFTask) -> bool:
    """Whether every scored answer is asked for with one seed, the spec's; null is none, to Inspect as well."""
    return answering_arguments(task).get("seed") is not None


def epochs_repeat(task: HFTask, policy: GenerationSettings) -> bool:
    """Whether one epoch samples what the others do, by what spec and policy say.

    Where they leave it to the model, its own settings tell: `EffectiveGeneration.epochs_repeat` of a run.
    """
    spec = answering_arguments(task)
    temperature, top_k = (
        getattr(policy, name) if spec.get(name) is None else spec[name] for name in ("temperature", "top_k")
    )
    return gives_one_seed(task) or bool(greedy_by(temperature, top_k))


def read_id(index: int, item: object) -> tuple[str | None, tuple[str, ...]]:
    """The id of a task, and what is wrong with it if anything is."""
    if not isinstance(item, dict):
        return None, (f"tasks[{index}]: must be a mapping, not {clean(repr(item), 60)}",)
    task_id = item.get("id")
    if task_id is None:
        return None, ()
    if not isinstance(task_id, str):
        return None, (f"tasks[{index}].id: YAML reads {clean(repr(task_id), 60)}, which is no text; put it in quotes",)
    if not is_task_id(task_id):
        return None, (f"tasks[{index}].id: must be 1 to {MAX_TASK_ID_CHARS} characters without hidden ones",)
    return task_id, ()


def worst(*groups: Iterable[SpecStatus]) -> SpecStatus:
    """The worst of all statuses; runnable if there are none."""
    statuses = [status for group in groups for status in group]
    return max(statuses, key=list(SpecStatus).index, default=SpecStatus.RUNNABLE)
