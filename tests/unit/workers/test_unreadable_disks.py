"""What a disk of ours does not give is nobody else's fault: neither the model's, nor that of a benchmark's author."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pyarrow.parquet
import pytest
from inspect_ai._eval.task.hf import HFTask

from specs.messages import AttemptOutcome, TaskRef
from tests.support.small_repos import COMMIT
from workers.batches.order_end import failure
from workers.benchmarks.dataset_rows import LocalDataset, check_split
from workers.benchmarks.parquet_sizes import check_parquet
from workers.benchmarks.spec_file import load_task
from workers.runs.circumstances import chat_template_sha256
from workers.runs.generation import generation_config
from workers.snapshots.completeness import check_complete
from workers.snapshots.references import check_references
from workers.snapshots.weights import check_weights

TASK = TaskRef(dataset_id="bench/say", revision=COMMIT, task_id="say", spec_sha256="a" * 64)

HF_TASK = HFTask.model_validate(
    {
        "field_spec": {"input": "q", "target": "a"},
        "solvers": [{"name": "generate"}],
        "scorers": [{"name": "exact"}],
    }
)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("model.safetensors", check_weights),
        ("config.json", check_complete),
        ("config.json", lambda folder: check_references(folder, folder)),
        ("generation_config.json", generation_config),
        ("tokenizer_config.json", chat_template_sha256),
        ("test.jsonl", lambda folder: check_split(LocalDataset(folder, 100, 100), HF_TASK)),
        ("eval.yaml", lambda folder: load_task(folder, TASK, {}, allow_self_judge=True)),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, reads: Callable[[Path], object]) -> None:
    # A file of the kernel's that is there, and says "Input/output error" to whoever reads it from its beginning.
    (tmp_path / name).symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        reads(tmp_path)
    assert failure(raised.value).outcome is AttemptOutcome.WORKER_FAILED


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.EROFS, errno.EACCES])
def test_rows_that_a_disk_does_not_give_are_not_the_benchmarks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    from workers.benchmarks.canonical import canonical_task  # noqa: PLC0415 - lighteval and torch, which few tests need

    def broken(*_: object, **__: object) -> None:
        try:
            raise OSError(code, os.strerror(code))
        except OSError as error:
            # As `datasets` has it of a split that it makes.
            raise RuntimeError("An error occurred while generating the dataset") from error

    (tmp_path / "test.jsonl").write_text("{}")
    monkeypatch.setattr("datasets.load_dataset", broken)
    local = LocalDataset(tmp_path, 100, 100)
    with pytest.raises(OSError, match=os.strerror(code)):
        check_split(local, HF_TASK)
    monkeypatch.setattr("workers.benchmarks.canonical.check_split", lambda *_: None)
    monkeypatch.setattr("workers.benchmarks.canonical.get_inspect_ai_task", broken)
    with pytest.raises(OSError, match=os.strerror(code)):
        canonical_task(TASK, HF_TASK, local, judges={}, seed=1, epochs_repeat=False)


@pytest.mark.parametrize(("code", "whose"), [(errno.ESTALE, "ours"), (errno.EINVAL, "its author's")])
def test_a_footer_that_a_disk_does_not_give_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, whose: str
) -> None:
    def broken(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "test.parquet").touch()
    monkeypatch.setattr(pyarrow.parquet, "read_metadata", broken)
    with pytest.raises(OSError, match=os.strerror(code)) if whose == "ours" else nullcontext():
        check_parquet(tmp_path, ["q"], 100, 100)
