"""Facts about a few published benchmarks, for checking files without asking the Hub.

Only `reprofarm check` uses them, and only to warn: the farm itself reads the benchmark's eval.yaml. Task ids are those
of the copies of published eval.yaml files in the test data; for lukaemon/bbh, which has none, the tasks of Suzgun et
al., "Challenging BIG-Bench tasks", 2022, as its configurations are named.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownBenchmark:
    """What does not change from one revision of a benchmark to the next."""

    dataset_id: str
    task_ids: tuple[str, ...]
    name: str | None = None
    """As its eval.yaml has it; None where it has none."""

    is_gated: bool = False
    """Whether the dataset can be read only after accepting its terms."""


_BBH_TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)

_KNOWN = {
    benchmark.dataset_id: benchmark
    for benchmark in (
        KnownBenchmark("Idavidrein/gpqa", ("diamond", "main", "extended"), "GPQA", is_gated=True),
        KnownBenchmark("MathArena/aime_2026", ("MathArena/aime_2026",), "MathArena AIME 2026"),
        KnownBenchmark("TIGER-Lab/MMLU-Pro", ("mmlu_pro",), "MMLU-Pro"),
        KnownBenchmark("cais/hle", ("hle",), "Humanity's Last Exam", is_gated=True),
        KnownBenchmark("lukaemon/bbh", _BBH_TASKS),
        KnownBenchmark("openai/gsm8k", ("gsm8k",), "GSM8K"),
    )
}


def by_dataset(dataset_id: str) -> KnownBenchmark | None:
    """The benchmark in that dataset repo, if it is a known one."""
    return _KNOWN.get(dataset_id)


def by_content(name: str | None, task_ids: Collection[str | None]) -> KnownBenchmark | None:
    """The benchmark whose eval.yaml has that name and those tasks, if it is a known one."""
    for benchmark in _KNOWN.values():
        if benchmark.name is not None and benchmark.name == name and set(task_ids) == set(benchmark.task_ids):
            return benchmark
    return None


def foreign_task_warning(dataset_id: str, task_id: str | None) -> str | None:
    """What to tell somebody who claims a score on a task that a known benchmark does not have."""
    benchmark = by_dataset(dataset_id)
    if benchmark is None or task_id is None or task_id in benchmark.task_ids:
        return None
    shown = ", ".join(benchmark.task_ids[:6]) + (", …" if len(benchmark.task_ids) > 6 else "")
    return f"dataset.task_id: '{task_id}' is not a task of {dataset_id}, as far as known here; it has {shown}"
