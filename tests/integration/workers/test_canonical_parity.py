"""Every question of MMLU-Pro and GSM8K is asked as `inspect eval hf/OWNER/NAME@REV` asks it.

Of all other files that can be run `test_run_parity` holds the samples together, on made-up rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from specs.hub.eval_yaml import parse
from specs.messages import TaskRef
from tests.support.localhub import RunningHub, running_hub
from workers.snapshots.fetch import Snapshots

PROJECT = Path(__file__).resolve().parents[3]
# Only named: to import it is to import lighteval and torch, in every process of the tests.
TASK_SAMPLES = PROJECT / "tests/support/task_samples.py"

SIZES = {"mmlu_pro": 12_032, "gsm8k": 1_319}
ROWS = {"mmlu_pro": ("mmlu_pro/test.parquet", "default"), "gsm8k": ("gsm8k/test.jsonl", "main")}
"""The file of its rows, and the config that they are; the split is `test`."""


def published(hub: RunningHub, name: str, shared: Path) -> TaskRef:
    """The benchmark's only task, once the benchmark is on the Hub."""
    text = (shared / "eval_yaml" / f"{name}.yaml").read_bytes()
    source, config = ROWS[name]
    path = f"data/{Path(source).name}"
    card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: test\n    path: {path}\n---\n"
    repo = RepoName(RepoType.DATASET, f"bench/{name}")
    hub.local.create_repo(repo)
    files = {path: (shared / source).read_bytes(), "README.md": card.encode(), "eval.yaml": text}
    hub.local.commit(repo, files, CommitText("Add the benchmark", "bench"))
    spec = parse(text)
    (task,) = spec.tasks
    revision = str(HfApi(endpoint=hub.url, token=False).dataset_info(repo.id).sha)
    return TaskRef(dataset_id=repo.id, revision=revision, task_id=task.id, spec_sha256=spec.sha256)


def test_every_sample_is_the_same(shared_data: Path, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        tasks = [published(hub, name, shared_data) for name in SIZES]
        snapshots = Snapshots(tmp_path / "cache", HfApi(endpoint=hub.url, token=False), 2**33)
        requests = [{"task": each.model_dump(), "folder": str(snapshots.dataset(each))} for each in tasks]
        (tmp_path / "requests.json").write_text(json.dumps(requests))
        caches = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
        ended = subprocess.run(
            [sys.executable, str(TASK_SAMPLES), str(tmp_path / "requests.json")],
            env={**os.environ, **caches, "PYTHONPATH": str(PROJECT), "HF_ENDPOINT": hub.url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == [
        {"samples": size, "differing": None} for size in SIZES.values()
    ]
