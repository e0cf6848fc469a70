"""A Hub of made-up repos in memory: over HTTP, with the answers of deploy/localhub to what a poll asks.

For polls of more results than repos could be made for in a bench's time. It counts what is asked of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from deploy.serving import QuietHandler, answered_by

EVAL_YAML = b"""\
name: Made up
evaluation_framework: inspect-ai
tasks:
  - id: default
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
"""
RESULT_FILE = ".eval_results/results.yaml"
WEIGHTS_BYTES = 270_000_000


def commit(*facts: object) -> str:
    """A commit id that is another one for other facts."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]


@dataclass
class PaperHub:
    """`results` models, each with a result on every one of `benchmarks` benchmarks."""

    benchmarks: int
    results: int
    changes: dict[int, int] = field(default_factory=dict)
    """How often the results of a model were changed, by its number."""

    asked: Counter[str] = field(default_factory=Counter)
    """Requests so far, by kind."""

    def dataset(self, number: int) -> str:
        """Name of a benchmark."""
        return f"bench/paper{number:04d}"

    def model(self, number: int) -> str:
        """Name of a model."""
        return f"org/paper{number:06d}"

    def change(self, number: int) -> None:
        """Have a model say another score on one benchmark."""
        self.changes[number] = self.changes.get(number, 0) + 1

    def value(self, model: int, benchmark: int) -> float:
        """The score that a model says."""
        changed = self.changes.get(model, 0) if model % self.benchmarks == benchmark else 0
        return 10.0 + (model * 7 + benchmark * 13) % 80 + changed

    def answer(self, path: str, etag: str | None) -> tuple[int, Any, str | None]:
        """Status, body (JSON, or bytes as they are) and ETag."""
        parts = path.strip("/").split("/")
        if parts[-1] == "leaderboard":
            return self._leaderboard(_number(parts[3]), etag)
        if parts[:2] == ["api", "datasets"]:
            return 200, self._about_datasets(parts), None
        if parts[:2] == ["api", "models"]:
            self.asked["about a model"] += 1
            return 200, self._about_model(_number(parts[3]), parts), None
        self.asked["file"] += 1
        return 200, EVAL_YAML if parts[0] == "datasets" else self._result_file(_number(parts[1])), None

    def _about_datasets(self, parts: list[str]) -> Any:
        if len(parts) == 2:
            self.asked["list of benchmarks"] += 1
            return [self._dataset_head(number) for number in range(self.benchmarks)]
        self.asked["about a benchmark"] += 1
        if "tree" in parts:
            return [{"type": "file", "path": "eval.yaml", "oid": commit("eval"), "size": len(EVAL_YAML)}]
        return self._dataset_head(_number(parts[3]))

    def _dataset_head(self, number: int) -> dict[str, Any]:
        return {"id": self.dataset(number), "sha": commit("dataset", number), "gated": False, "private": False}

    def _leaderboard(self, number: int, etag: str | None) -> tuple[int, Any, str | None]:
        changed = sorted(each for each in self.changes.items() if each[0] % self.benchmarks == number)
        current = f'"{commit("board", number, changed)}"'
        if etag == current:
            self.asked["leaderboard, unchanged"] += 1
            return 304, None, current
        self.asked["leaderboard"] += 1
        rows = [self._row(rank, model, number) for rank, model in enumerate(range(self.results), start=1)]
        return 200, rows, current

    def _row(self, rank: int, model: int, benchmark: int) -> dict[str, Any]:
        return {
            "rank": rank,
            "modelId": self.model(model),
            "value": self.value(model, benchmark),
            "verified": False,
            "filename": RESULT_FILE,
            "author": {"name": "org", "type": "user"},
        }

    def _about_model(self, number: int, parts: list[str]) -> Any:
        if "tree" in parts:
            changes = self.changes.get(number, 0)
            return [
                {"type": "file", "path": RESULT_FILE, "oid": commit("results", number, changes), "size": 1000},
                {"type": "file", "path": "model.safetensors", "oid": commit("weights", number), "size": WEIGHTS_BYTES},
                {"type": "file", "path": "tokenizer.json", "oid": commit("tokenizer", number), "size": 1000},
            ]
        if "discussions" in parts:
            return {"discussions": [], "count": 0, "start": 0}
        head = commit("model", number, self.changes.get(number, 0))
        return {"id": self.model(number), "sha": head, "gated": False, "private": False}

    def _result_file(self, number: int) -> bytes:
        entries = [
            {"dataset": {"id": self.dataset(each), "task_id": "default"}, "value": self.value(number, each)}
            for each in range(self.benchmarks)
        ]
        # JSON is YAML.
        return json.dumps(entries).encode()


def _number(name: str) -> int:
    return int("".join(character for character in name if character.isdigit()))


@contextmanager
def serving(hub: PaperHub) -> Iterator[str]:
    """Serve it on a free port until the block ends; yields its address."""

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: the second of two would wait for the client to acknowledge the first.
        wbufsize = 2**16

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            status, body, etag = hub.answer(path, self.headers.get("If-None-Match"))
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            # Of a file the Hub says at which commit it is.
            at = path.partition("/resolve/")[2].partition("/")[0]
            self.answer(status, content, headers={"etag": etag} if etag else {"x-repo-commit": at} if at else {})

    with answered_by(Handler) as url:
        yield url
