"""The farm's samples are those of `inspect eval hf/OWNER/NAME@REV`, for every benchmark file that can be run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from specs.hub.eval_yaml import SpecStatus, parse
from specs.messages import TaskRef
from tests.support import task_samples
from tests.support.localhub import RunningHub, running_hub
from tests.support.spec_rows import data_files
from workers.snapshots.fetch import Snapshots

_REAL_ROWS = {"mmlu_pro": ("mmlu_pro/test.parquet", "default", "test"), "gsm8k": ("gsm8k/test.jsonl", "main", "test")}


@dataclass(frozen=True)
class _Loaded:
    names: list[str]
    inspect: list[list[dict[str, Any]]]
    farm: list[list[dict[str, Any]]]


def _publish(hub: RunningHub, name: str, text: bytes, shared: Path) -> str:
    """Put a benchmark on the Hub, with real rows where there are some; its commit."""
    definitions = [task.definition for task in parse(text).tasks if task.definition is not None]
    if name in _REAL_ROWS:
        source, config, split = _REAL_ROWS[name]
        path = f"data/{Path(source).name}"
        card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {path}\n---\n"
        files = {path: (shared / source).read_bytes(), "README.md": card.encode()}
    else:
        files = data_files(definitions)
    repo = RepoName(RepoType.DATASET, f"bench/{name}")
    hub.local.create_repo(repo)
    hub.local.commit(repo, {**files, "eval.yaml": text}, CommitText("Add the benchmark", "bench"))
    return str(HfApi(endpoint=hub.url, token=False).dataset_info(f"bench/{name}").sha)


def _requests(hub: RunningHub, shared: Path, cache: Path) -> list[dict[str, Any]]:
    snapshots = Snapshots(cache, HfApi(endpoint=hub.url, token=False), 2**33)
    requests = []
    for file in sorted((shared / "eval_yaml").glob("*.yaml")):
        spec = parse(file.read_bytes())
        if spec.status not in {SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE}:
            continue
        name = file.stem.replace("__", "-")
        revision = _publish(hub, name, file.read_bytes(), shared)
        for index, task in enumerate(spec.tasks):
            ref = TaskRef(dataset_id=f"bench/{name}", revision=revision, task_id=task.id, spec_sha256=spec.sha256)
            judges = [judge for judge in task.judges if judge is not None]
            folder = str(snapshots.dataset(ref))
            requests.append({**ref.model_dump(), "index": index, "folder": folder, "judges": judges})
    return requests


def _load(loader: str, requests: Path, answer: Path, environment: dict[str, str]) -> list[list[dict[str, Any]]]:
    command = [sys.executable, str(task_samples.__file__), loader, str(requests), str(answer)]
    project = str(Path(__file__).resolve().parents[3])
    ended = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": project, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    loaded: list[list[dict[str, Any]]] = json.loads(answer.read_bytes())
    return loaded


@pytest.fixture(scope="module")
def loaded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> _Loaded:
    """Every task of every runnable file, by both loaders."""
    folder = tmp_path_factory.mktemp("parity")
    with running_hub(folder / "hub") as hub:
        requests = _requests(hub, shared_data, folder / "cache")
        (folder / "requests.json").write_text(json.dumps(requests))
        theirs, ours = (
            {"HF_HOME": str(folder / name / "hf"), "XDG_CACHE_HOME": str(folder / name / "xdg"), **more}
            for name, more in (("theirs", {"HF_ENDPOINT": hub.url}), ("ours", {"HF_HUB_OFFLINE": "1"}))
        )
        inspect = _load("inspect", folder / "requests.json", folder / "inspect.json", theirs)
        farm = _load("farm", folder / "requests.json", folder / "farm.json", ours)
    return _Loaded([f"{each['dataset_id']}/{each['task_id']}" for each in requests], inspect, farm)


def test_every_sample_is_the_same(loaded: _Loaded) -> None:
    assert len(loaded.names) >= 15
    for name, inspect, farm in zip(loaded.names, loaded.inspect, loaded.farm, strict=True):
        assert len(inspect) == len(farm), name
        for theirs, ours in zip(inspect, farm, strict=True):
            assert theirs == ours, name


def test_the_real_questions_are_among_them(loaded: _Loaded) -> None:
    sizes = dict(zip(loaded.names, map(len, loaded.farm), strict=True))
    assert sizes["bench/mmlu_pro/mmlu_pro"] == 12_032
    assert sizes["bench/gsm8k/gsm8k"] == 1_319


def test_choices_that_the_spec_shuffles_are_shuffled(loaded: _Loaded) -> None:
    diamond = loaded.farm[loaded.names.index("bench/gpqa/diamond")]
    assert len({sample["target"] for sample in diamond}) > 1, "unshuffled, every target would be D"
