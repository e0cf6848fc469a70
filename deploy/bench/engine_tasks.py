"""Tasks for the real small model: a Hub with benchmarks of one-line questions, and claims on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from deploy.demo.benchmarks import OWNER, QuestionBenchmark, write_benchmark
from deploy.demo.models import GOOD, link_model
from deploy.localhub.folders import add_folder
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import dataset, model

TASK = "default"


def _benchmark(name: str, question: str, answer: str) -> QuestionBenchmark:
    return QuestionBenchmark(name, name.capitalize(), TASK, question, answer, "the percentage")


TASKS = (
    _benchmark("capital", "What is the capital of {name}?", "capital"),
    _benchmark("continent", "In which continent is {name}?", "continent"),
    _benchmark("city", "Which city is the seat of government of {name}?", "capital"),
    _benchmark("part-of-the-world", "Name the continent on which one finds {name}.", "continent"),
)
"""Each with questions of its own, so that no answer is in an engine's cache from another."""


FEW_QUESTIONS = 40

FEW = tuple(replace(task, name=f"{task.name}-of-few", questions=FEW_QUESTIONS) for task in TASKS)
"""The same with fewer questions, so that an engine takes several times longer to come up than to answer one of them."""

LONG = replace(
    _benchmark("life", "Tell me about the history of {name} and how people live there.", "capital"), max_tokens=96
)
"""Answers as long as those of benchmarks that have a model reason, which go on until they are cut."""


def fill_hub(hub_folder: Path, real_model: Path, scratch: Path, tasks: Sequence[QuestionBenchmark]) -> str:
    """Put the model and the benchmarks `tasks` on a fresh Hub; returns a token of the model's author."""
    hub = LocalHub(hub_folder)
    try:
        for task in tasks:
            add_folder(hub, dataset(task.dataset_id), write_benchmark(scratch / task.dataset_id, task), OWNER)
            hub.mark_benchmark(dataset(task.dataset_id))
        add_folder(hub, model(GOOD), link_model(real_model, scratch / GOOD), OWNER)
        return hub.add_token(OWNER)
    finally:
        hub.close()


def claim(api: HfApi, tasks: Sequence[QuestionBenchmark]) -> None:
    """Have the model's author claim a score on each task."""
    entries = "".join(f"- dataset:\n    id: {task.dataset_id}\n    task_id: {TASK}\n  value: 50.0\n" for task in tasks)
    api.upload_file(path_or_fileobj=entries.encode(), path_in_repo=".eval_results/results.yaml", repo_id=GOOD)
