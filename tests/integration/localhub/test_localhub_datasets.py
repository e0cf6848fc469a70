"""The `datasets` library against a live local Hub, in one process for all: it reads HF_ENDPOINT when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tests.support.localhub import running_hub

# Importing it takes longer than loading does, and is left to that process.
if find_spec("datasets") is None:
    pytest.skip("the extra `run` is not installed", allow_module_level=True)

Loaded = dict[str, dict[str, list[str]]]
"""Column `a` of every split, by what was asked for."""

PROGRAM = """
import json, sys
from datasets import load_dataset
for call in sys.argv[1:]:
    arguments, options = json.loads(call)
    found = load_dataset(*arguments, **options)
    print(json.dumps({split: [row["a"] for row in rows.to_list()] for split, rows in found.items()}))
"""
CARD = """---
configs:
- config_name: easy
  data_files:
  - split: test
    path: easy/*.{suffix}
- config_name: hard
  data_files:
  - split: test
    path: hard/test.{suffix}
  - split: train
    path: hard/train.{suffix}
---
"""


def jsonl(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(*rows: dict[str, object]) -> bytes:
    import pyarrow.parquet  # noqa: PLC0415 - comes with `datasets`

    file = BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What is loaded of datasets of each kind."""
    folder = tmp_path_factory.mktemp("datasets")
    with running_hub(folder / "hub") as hub:
        alice = HfApi(endpoint=hub.url, token=hub.local.add_token("alice", orgs=("acme",)))
        _commit(alice, "acme/facts", _facts("jsonl", jsonl))
        _commit(alice, "acme/facts-parquet", _facts("parquet", parquet))
        _commit(alice, "acme/plain", {f"data/{split}.jsonl": jsonl({"a": split}) for split in ("train", "test")})
        before = _commit(alice, "acme/changed", _facts("jsonl", jsonl))
        alice.upload_file(
            path_or_fileobj=jsonl({"q": "1+1", "a": "3"}),
            path_in_repo="easy/a.jsonl",
            repo_id="acme/changed",
            repo_type="dataset",
        )
        calls: dict[str, tuple[list[str], dict[str, str]]] = {
            "easy": (["acme/facts", "easy"], {}),
            "hard": (["acme/facts", "hard"], {}),
            "easy, parquet": (["acme/facts-parquet", "easy"], {}),
            "hard, parquet": (["acme/facts-parquet", "hard"], {}),
            "plain": (["acme/plain"], {}),
            "changed": (["acme/changed", "easy"], {}),
            "before": (["acme/changed", "easy"], {"revision": before}),
        }
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home")}
        environment.pop("HF_HUB_OFFLINE", None)
        command = [sys.executable, "-c", PROGRAM, *(json.dumps(call) for call in calls.values())]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, map(json.loads, done.stdout.splitlines()), strict=True))


def _facts(suffix: str, render: Callable[..., bytes]) -> dict[str, bytes]:
    return {
        "README.md": CARD.format(suffix=suffix).encode(),
        f"easy/a.{suffix}": render({"q": "1+1", "a": "2"}),
        f"easy/b.{suffix}": render({"q": "2+2", "a": "4"}),
        f"hard/test.{suffix}": render({"q": "7*8", "a": "56"}),
        f"hard/train.{suffix}": render({"q": "6*9", "a": "54"}),
    }


def _commit(alice: HfApi, name: str, files: dict[str, bytes]) -> str:
    """Make a dataset of these files; its commit."""
    alice.create_repo(name, repo_type="dataset")
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return alice.create_commit(name, operations, commit_message="Add data", repo_type="dataset").oid


def test_data_files_are_loaded_by_the_cards_configs_and_splits(loaded: Loaded) -> None:
    for form in ("", ", parquet"):
        assert loaded[f"easy{form}"] == {"test": ["2", "4"]}
        assert loaded[f"hard{form}"] == {"test": ["56"], "train": ["54"]}


def test_a_revision_is_loaded_as_it_was(loaded: Loaded) -> None:
    assert (loaded["changed"]["test"], loaded["before"]["test"]) == (["3", "4"], ["2", "4"])


def test_a_dataset_without_a_card_is_loaded_by_its_file_names(loaded: Loaded) -> None:
    assert loaded["plain"] == {"train": ["train"], "test": ["test"]}
