"""What a disk of ours does not give is nobody else's fault: neither the model's, nor that of a benchmark's author."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from specs.messages import AttemptOutcome, TaskRef
from tests.support.small_repos import COMMIT
from workers.batches.order_end import failure
from workers.benchmarks.spec_file import load_task
from workers.runs.circumstances import chat_template_sha256
from workers.runs.generation import generation_config
from workers.snapshots.completeness import check_complete
from workers.snapshots.references import check_references
from workers.snapshots.weights import check_weights

TASK = TaskRef(dataset_id="bench/say", revision=COMMIT, task_id="say", spec_sha256="a" * 64)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("model.safetensors", check_weights),
        ("config.json", check_complete),
        ("config.json", lambda folder: check_references(folder, folder)),
        ("generation_config.json", generation_config),
        ("tokenizer_config.json", chat_template_sha256),
        ("eval.yaml", lambda folder: load_task(folder, TASK, {}, allow_self_judge=True)),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, reads: Callable[[Path], object]) -> None:
    # A file of the kernel's that is there, and says "Input/output error" to whoever reads it from its beginning.
    (tmp_path / name).symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        reads(tmp_path)
    assert failure(raised.value).outcome is AttemptOutcome.WORKER_FAILED
