"""Folders like the Hub's snapshots: a dataset with an eval.yaml, a model whose files are sound but nothing in them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from specs.messages import TaskRef

COMMIT = "0123456789abcdef0123456789abcdef01234567"

SAY_SPEC: Mapping[str, Any] = {
    "name": "Say",
    "description": "Says what it is told.",
    "evaluation_framework": "inspect-ai",
    "tasks": [
        {
            "id": "say",
            "config": "default",
            "split": "test",
            "field_spec": {"input": "question", "target": "answer"},
            "solvers": [{"name": "generate"}],
            "scorers": [{"name": "exact"}],
        }
    ],
}


def write_dataset(folder: Path, rows: Sequence[Mapping[str, Any]], spec: Mapping[str, Any] = SAY_SPEC) -> Path:
    """A dataset snapshot, in a folder named for its commit."""
    snapshot = folder / "snapshots" / COMMIT
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (snapshot / "eval.yaml").write_text(yaml.safe_dump(dict(spec), sort_keys=False))
    return snapshot


def task_ref(snapshot: Path, task_id: str | None = "say", dataset_id: str = "bench/say") -> TaskRef:
    """The reference to a task of that snapshot."""
    digest = hashlib.sha256((snapshot / "eval.yaml").read_bytes()).hexdigest()
    return TaskRef(dataset_id=dataset_id, revision=COMMIT, task_id=task_id, spec_sha256=digest)


def write_safetensors(file: Path, *, cut_bytes: int = 0) -> None:
    """A sound safetensors file with one tensor of four floats; `cut_bytes` are missing at its end."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(16)
    file.write_bytes(content[: len(content) - cut_bytes])


def write_large_weights(file: Path, dtype: str, numbers: int, bytes_each: int) -> None:
    """A sound safetensors file with so many numbers, which are a hole and take no room on the disk."""
    tensor = {"dtype": dtype, "shape": [numbers], "data_offsets": [0, numbers * bytes_each]}
    header = json.dumps({"weight": tensor}).encode()
    with file.open("wb") as content:
        content.write(struct.pack("<Q", len(header)) + header)
        content.truncate(8 + len(header) + numbers * bytes_each)


def write_model(folder: Path) -> Path:
    """A model snapshot with all the files that an engine needs, and nothing in them."""
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    write_safetensors(snapshot / "model.safetensors")
    (snapshot / "config.json").write_text(json.dumps({"architectures": ["SayForCausalLM"], "model_type": "say"}))
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    return snapshot
