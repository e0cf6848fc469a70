"""The `datasets` library against a live local Hub. It reads HF_ENDPOINT when it is imported: one process for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tests.support.localhub import RunningHub

datasets = pytest.importorskip("datasets", reason="the extra `run` is not installed")

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
    file = BytesIO()
    datasets.Dataset.from_list(list(rows)).to_parquet(file)
    return file.getvalue()


def load(hub: RunningHub, home: Path, *calls: tuple[list[str], dict[str, str]]) -> list[dict[str, list[str]]]:
    """Column `a` of every split, for each call of `load_dataset`; importing the library takes longer than loading."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home)}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", PROGRAM, *(json.dumps(call) for call in calls)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def facts(alice: HfApi) -> str:
    """The name of a dataset of JSON lines; with `-parquet` behind it the same as Parquet."""
    for name, suffix, render in (("acme/facts", "jsonl", jsonl), ("acme/facts-parquet", "parquet", parquet)):
        alice.create_repo(name, repo_type="dataset")
        files = {
            "README.md": CARD.format(suffix=suffix).encode(),
            f"easy/a.{suffix}": render({"q": "1+1", "a": "2"}),
            f"easy/b.{suffix}": render({"q": "2+2", "a": "4"}),
            f"hard/test.{suffix}": render({"q": "7*8", "a": "56"}),
            f"hard/train.{suffix}": render({"q": "6*9", "a": "54"}),
        }
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        alice.create_commit(name, operations, commit_message="Add facts", repo_type="dataset")
    return "acme/facts"


def test_data_files_are_loaded_by_the_cards_configs_and_splits(hub: RunningHub, facts: str, tmp_path: Path) -> None:
    names = (facts, f"{facts}-parquet")
    calls: list[tuple[list[str], dict[str, str]]] = [
        ([name, config], {}) for name in names for config in ("easy", "hard")
    ]
    easy, hard = {"test": ["2", "4"]}, {"test": ["56"], "train": ["54"]}
    assert load(hub, tmp_path / "home", *calls) == [easy, hard, easy, hard]


def test_a_revision_is_loaded_as_it_was(hub: RunningHub, alice: HfApi, facts: str, tmp_path: Path) -> None:
    before = alice.dataset_info(facts).sha or ""
    changed = jsonl({"q": "1+1", "a": "3"})
    alice.upload_file(path_or_fileobj=changed, path_in_repo="easy/a.jsonl", repo_id=facts, repo_type="dataset")
    now, then = load(hub, tmp_path / "home", ([facts, "easy"], {}), ([facts, "easy"], {"revision": before}))
    assert (now["test"], then["test"]) == (["3", "4"], ["2", "4"])


def test_a_dataset_without_a_card_is_loaded_by_its_file_names(hub: RunningHub, alice: HfApi, tmp_path: Path) -> None:
    alice.create_repo("acme/plain", repo_type="dataset")
    operations = [CommitOperationAdd(f"data/{split}.jsonl", jsonl({"a": split})) for split in ("train", "test")]
    alice.create_commit("acme/plain", operations, commit_message="Add data", repo_type="dataset")
    assert load(hub, tmp_path / "home", (["acme/plain"], {})) == [{"train": ["train"], "test": ["test"]}]
