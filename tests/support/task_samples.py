"""The samples of tasks, as one of the two loaders makes them: `python task_samples.py inspect|farm REQUEST ANSWER`.

REQUEST is a file with a JSON list of `{"dataset_id", "task_id", "revision", "folder", "spec_sha256"}`; ANSWER gets a
list with a list of samples for each. In a process of its own, because the Hub's address and every cache are settled
when the libraries are imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import Dataset, MemoryDataset, Sample

SEED = 5


def inspect_samples(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """By Inspect's own `hf/OWNER/NAME@REV`, with its unseeded shuffling of choices seeded."""
    from inspect_ai._eval.task.hf import task_create_from_hf  # noqa: PLC0415 - only one of the two is needed

    shuffle = MemoryDataset.shuffle_choices
    MemoryDataset.shuffle_choices = lambda self, seed=SEED: shuffle(self, seed)  # type: ignore[method-assign]
    try:
        tasks: list[Task] = task_create_from_hf(f"hf/{wanted['dataset_id']}@{wanted['revision']}")
    finally:
        MemoryDataset.shuffle_choices = shuffle  # type: ignore[method-assign]
    return _plain(tasks[wanted["index"]].dataset)


def farm_samples(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """By the farm's way through lighteval, back in the dataset's own order."""
    from specs.messages import TaskRef  # noqa: PLC0415 - only one of the two is needed
    from specs.policy.rules import JudgeEndpoint  # noqa: PLC0415
    from workers.benchmarks.canonical import canonical_task  # noqa: PLC0415
    from workers.benchmarks.dataset_rows import LocalDataset  # noqa: PLC0415
    from workers.benchmarks.spec_file import load_task  # noqa: PLC0415

    keys = ("dataset_id", "task_id", "revision", "spec_sha256")
    ref = TaskRef(**{key: wanted[key] for key in keys})
    folder = Path(wanted["folder"])
    endpoint = JudgeEndpoint(base_url="http://127.0.0.1:9", model="judge")
    task = load_task(folder, ref, dict.fromkeys(wanted["judges"], endpoint), allow_self_judge=True)
    judges = {name: f"openai-api/judge0/{name}" for name in task.judges if name is not None}
    local = LocalDataset(folder, max_rows=100_000, max_cell_bytes=10_000_000)
    canonical = canonical_task(ref, task.definition, local, judges=judges, seed=SEED, epochs=None)
    return sorted(_plain(canonical.task.dataset), key=lambda sample: int(sample["id"]))


def _plain(dataset: Dataset | Iterable[Sample]) -> list[dict[str, Any]]:
    return [
        {
            # Inspect gives samples without an id their position, from 1, when the run begins.
            "id": position if sample.id is None else sample.id,
            "input": sample.input if isinstance(sample.input, str) else [_message(each) for each in sample.input],
            "choices": sample.choices,
            "target": sample.target,
            "metadata": sample.metadata,
        }
        for position, sample in enumerate(dataset, start=1)
    ]


def _message(message: Any) -> Any:
    return message.model_dump(mode="json", exclude={"id"})


if __name__ == "__main__":
    loader = {"inspect": inspect_samples, "farm": farm_samples}[sys.argv[1]]
    requests = json.loads(Path(sys.argv[2]).read_bytes())
    Path(sys.argv[3]).write_text(json.dumps([loader(request) for request in requests], default=str))
