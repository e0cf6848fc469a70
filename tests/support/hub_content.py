"""What tests put on a local Hub: benchmarks, models and results."""

from __future__ import annotations

import json
import struct

from deploy.localhub.commits import CommitText
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import RepoName, RepoType

EVAL_YAML = """\
name: Capitals
evaluation_framework: inspect-ai
tasks:
  - id: capitals
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
"""


def add_benchmark(
    hub: LocalHub, dataset_id: str, eval_yaml: str | None = EVAL_YAML, rows: int = 3, card: str | None = None
) -> RepoName:
    """A dataset repo that is listed as an official benchmark; `card` is the metadata of its README."""
    repo = RepoName(RepoType.DATASET, dataset_id)
    hub.create_repo(repo)
    files = {
        "test.jsonl": "\n".join(json.dumps({"question": f"q{n}", "answer": f"a{n}"}) for n in range(rows)).encode()
    }
    if eval_yaml is not None:
        files["eval.yaml"] = eval_yaml.encode()
    if card is not None:
        files["README.md"] = f"---\n{card}---\n# A benchmark\n".encode()
    hub.commit(repo, files, CommitText("Add the benchmark", repo.namespace))
    hub.mark_benchmark(repo)
    return repo


def add_model(hub: LocalHub, model_id: str, weights: bytes = b"weights") -> RepoName:
    """A model repo with a tiny safetensors file, and a tokenizer with nothing in it."""
    repo = RepoName(RepoType.MODEL, model_id)
    hub.create_repo(repo)
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}}).encode()
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "model.safetensors": struct.pack("<Q", len(header)) + header + weights,
    }
    hub.commit(repo, files, CommitText("Add the model", repo.namespace))
    return repo


def entry(dataset_id: str, value: object, *, task: str = "capitals", more: str = "") -> str:
    """One entry of a result file, as its author writes it."""
    return f"- dataset:\n    id: {dataset_id}\n    task_id: {task}\n  value: {value}\n{more}"


def submit(
    hub: LocalHub,
    repo: RepoName,
    text: str,
    *,
    author: str | None = None,
    create_pr: bool = False,
    revision: str = "main",
    name: str = "results.yaml",
) -> int | None:
    """Write a result file; returns the pull request's number where one was opened."""
    files = {f".eval_results/{name}": text.encode()}
    written = hub.commit(
        repo, files, CommitText("Add a result", author or repo.namespace), create_pr=create_pr, revision=revision
    )
    return written.pull_request
