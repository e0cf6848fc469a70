"""A task of an eval.yaml as lighteval's Inspect task, on a local snapshot of the dataset.

Everything that decides a sample is Inspect's own (`inspect_ai/_eval/task/hf.py`, 0.3.285): the mapping of records, the
solvers, the scorers, epochs and their reducer. lighteval puts them together. What is added is what makes a run
repeatable: choices are shuffled by a seed, samples get the ids they have in Inspect's own loader (their position in the
dataset, from 1) and stand in a seeded random order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inspect_ai import Task
from inspect_ai._eval.loader import scorer_from_spec, solver_from_spec
from inspect_ai._eval.task.hf import HFTask, _record_to_sample_hf
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer._reducer.registry import create_reducers, reducer_log_name, validate_reducer
from inspect_ai.scorer._scorer import ScorerSpec
from inspect_ai.solver._solver import SolverSpec

from specs.epochs import MEAN
from specs.hub.task_spec import ANSWERING, JUDGING
from specs.judging.sample_order import seeded_order
from specs.judging.stopping import Population, target_in_words, targets_sha256
from specs.messages import TaskRef
from specs.text import clean
from workers.benchmarks.choices import check_choices
from workers.benchmarks.dataset_rows import LocalDataset, check_messages, check_record, check_split
from workers.benchmarks.lighteval_import import LightevalTaskConfig, get_inspect_ai_task
from workers.disk_faults import disk_fault
from workers.errors import SpecError

_MATH_SECONDS = 30.0
"""For `math` to read and to compare one answer, by the clock. Inspect's 2 are for a host with nothing else to do; one
beside an engine takes longer over the same answer."""


@dataclass(frozen=True)
class CanonicalTask:
    """A task that is ready to run."""

    task: Task
    sample_ids: tuple[int | str, ...]
    """All of the task's samples, in the seeded order, which is also the order of `task.dataset`."""

    population: Population


def lighteval_config(
    name: str, definition: HFTask, local: LocalDataset, judges: Mapping[str, str]
) -> LightevalTaskConfig:
    """The description of the task for lighteval.

    `judges` maps the names of judges in the spec to the names of Inspect models that play them.
    """

    def sample_fields(record: dict[str, Any]) -> Sample:
        check_record(record, definition.field_spec, local)
        sample = _record_to_sample_hf(record, definition.field_spec)
        check_messages(sample)
        return sample

    return LightevalTaskConfig(
        name=name,
        prompt_function=_no_prompt_function,
        # The Inspect path of lighteval 0.13 drops `hf_revision`; the folder is the snapshot of one commit.
        hf_repo=str(local.folder),
        hf_subset=definition.config,
        evaluation_splits=[definition.split],
        metrics=[],
        solver=[
            solver_from_spec(SolverSpec(solver=each.name, args=args, args_passed=args))
            for each in definition.solvers
            for args in [_arguments(each.name, each.args, judges)]
        ],
        scorer=[
            scorer_from_spec(ScorerSpec(scorer=each.name), task_path=None, **_arguments(each.name, each.args, judges))
            for each in definition.scorers
        ],
        sample_fields=sample_fields,
    )


def canonical_task(
    ref: TaskRef,
    definition: HFTask,
    local: LocalDataset,
    *,
    judges: Mapping[str, str],
    seed: int,
    epochs_repeat: bool,
) -> CanonicalTask:
    """The task of a spec on a snapshot; `epochs_repeat` is what the run's sampling settings say of its epochs.

    Raises:
        SpecError: the dataset does not have what the spec names, or Inspect refuses the task; says why.
        OSError: this machine cannot read the dataset.
    """
    check_split(local, definition)
    count = definition.epochs
    name = f"{ref.dataset_id}/{ref.task_id}" if ref.task_id else ref.dataset_id
    try:
        reducer = MEAN
        for each in create_reducers(definition.epoch_reducer) or []:
            validate_reducer(count, each)
            # As the log will have it: pass_at_01 is pass_at_1.
            reducer = reducer_log_name(each)
        config = lighteval_config(name, definition, local, judges)
        task: Task = get_inspect_ai_task(config, count, definition.epoch_reducer)
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        if (fault := disk_fault(error)) is not None:
            raise fault from None
        # Whatever else a stranger's spec and data provoke is theirs, and has a reason.
        raise SpecError(f"Inspect cannot make the task: {type(error).__name__}: {clean(str(error), 1000)}") from error
    dataset = task.dataset
    if not isinstance(dataset, MemoryDataset) or not len(dataset):
        raise SpecError(f"the split {definition.split} has no samples")
    check_choices(definition, dataset.samples)
    _set_up(dataset, seed, shuffle_choices=bool(definition.shuffle_choices))
    targets = targets_sha256(target_in_words(sample.target, sample.choices) for sample in dataset.samples)
    population = Population(
        samples=len(dataset.samples),
        epochs=count,
        reducer=reducer,
        epochs_repeat=epochs_repeat,
        targets_sha256=targets,
    )
    order = seeded_order(range(1, population.samples + 1), seed)
    dataset.samples = [dataset.samples[each - 1] for each in order]
    return CanonicalTask(task, tuple(order), population)


def _set_up(dataset: MemoryDataset, seed: int, *, shuffle_choices: bool) -> None:
    for position, sample in enumerate(dataset.samples, start=1):
        sample.id = position
    if shuffle_choices:
        try:
            # In the dataset's own order, as Inspect does it; the order of samples does not change their choices.
            dataset.shuffle_choices(seed)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise SpecError(f"choices cannot be shuffled: a target is not one of them ({error})") from error


def _arguments(step: str, args: Mapping[str, Any], judges: Mapping[str, str]) -> dict[str, Any]:
    kept = dict(args)
    if step in ANSWERING:
        # Answers from a cache would be a replay, not a reproduction.
        kept.pop("cache", None)
    if step == "math":
        kept.setdefault("timeout", _MATH_SECONDS)
    model = kept.get("model") if step in JUDGING else None
    if isinstance(model, str):
        kept["model"] = judges[model]
    elif isinstance(model, list):
        kept["model"] = [judges[each] for each in model]
    return kept


def _no_prompt_function(*_: object) -> None:
    """Lighteval wants one; its Inspect path never calls it."""
