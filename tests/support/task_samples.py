"""The samples of tasks by both loaders: `python task_samples.py REQUESTS`, a list of tasks and their folders in a file.

Prints a JSON list with, for each, how many samples there are and the first that the two make differently. In a process
of its own, because the Hub's address and every cache are settled when the libraries are imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inspect_ai._eval.task.hf import task_create_from_hf
from inspect_ai.dataset import Dataset, Sample

from specs.messages import TaskRef
from workers.benchmarks.canonical import canonical_task
from workers.benchmarks.dataset_rows import LocalDataset
from workers.benchmarks.spec_file import load_task


def compared(ref: TaskRef, folder: Path) -> dict[str, Any]:
    """What Inspect's `hf/OWNER/NAME@REV` makes of a benchmark of one task, beside what a run of the farm asks."""
    (alone,) = task_create_from_hf(f"hf/{ref.dataset_id}@{ref.revision}")
    definition = load_task(folder, ref, {}, allow_self_judge=True).definition
    local = LocalDataset(folder, max_rows=100_000, max_cell_bytes=10_000_000)
    ours = canonical_task(ref, definition, local, judges={}, seed=5, epochs_repeat=False).task.dataset
    theirs, farms = _plain(alone.dataset), sorted(_plain(ours), key=lambda sample: int(sample["id"]))
    pairs = zip(theirs, farms, strict=True)
    return {"samples": len(farms), "differing": next((pair for pair in pairs if pair[0] != pair[1]), None)}


def _plain(dataset: Dataset | Iterable[Sample]) -> list[dict[str, Any]]:
    return [
        {
            # Inspect gives samples without an id their position, from 1, when the run begins.
            "id": position if sample.id is None else sample.id,
            "input": sample.input,
            "choices": sample.choices,
            "target": sample.target,
            "metadata": sample.metadata,
        }
        for position, sample in enumerate(dataset, start=1)
    ]


if __name__ == "__main__":
    requests = json.loads(Path(sys.argv[1]).read_bytes())
    found = [compared(TaskRef(**each["task"]), Path(each["folder"])) for each in requests]
    sys.stdout.write("\n" + json.dumps(found, default=str))
