"""Tasks for the real small model: a Hub with four benchmarks of one-line questions, and a true claim on each."""

from __future__ import annotations

from pathlib import Path

from deploy.demo.benchmarks import OWNER, QuestionBenchmark, write_benchmark
from deploy.demo.models import GOOD, link_model
from deploy.localhub.commits import CommitText
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


def fill_hub(hub_folder: Path, real_model: Path, scratch: Path, tasks: int) -> None:
    """Put the model, the first `tasks` benchmarks and a claim on each of them on a fresh Hub."""
    hub = LocalHub(hub_folder)
    try:
        for task in TASKS[:tasks]:
            add_folder(hub, dataset(task.dataset_id), write_benchmark(scratch / task.dataset_id, task), OWNER)
            hub.mark_benchmark(dataset(task.dataset_id))
        add_folder(hub, model(GOOD), link_model(real_model, scratch / GOOD), OWNER)
        entries = "".join(
            f"- dataset:\n    id: {task.dataset_id}\n    task_id: {TASK}\n  value: 50.0\n" for task in TASKS[:tasks]
        )
        results = {".eval_results/results.yaml": entries.encode()}
        hub.commit(model(GOOD), results, CommitText("Add results", OWNER), create_pr=False)
    finally:
        hub.close()
