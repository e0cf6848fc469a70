"""A benchmark whose one task is put to the model word for word, and whose answers must be exact."""

from __future__ import annotations

import json
from collections.abc import Iterable

from deploy.localhub.commits import CommitText
from deploy.localhub.hub import LocalHub
from tests.support.hub_content import add_benchmark

ECHO_SPEC = """\
evaluation_framework: inspect-ai
tasks:
  - id: echo
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: exact}]
"""
MIXED = tuple((f"{n}? Say: {n}", str(n) if n % 4 else "no") for n in range(40))
"""Questions of which the stand-in engine answers three in four as they are to be answered."""


def add_echo(hub: LocalHub, dataset_id: str, questions: Iterable[tuple[str, str]] = MIXED) -> None:
    """List a benchmark of those questions, each with its answer."""
    rows = "".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in questions)
    repo = add_benchmark(hub, dataset_id, ECHO_SPEC)
    hub.commit(repo, {"test.jsonl": rows.encode()}, CommitText("Add rows", repo.namespace))
