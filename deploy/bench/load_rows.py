"""Ten thousand claims at once, as the watch would have entered them: rows alone, so that the Hub sets no pace."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from scheduler.database.session import Database
from scheduler.database.tables import Benchmark, Claim, Model, SpecFile, now
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.policy.run import RunRules
from specs.policy.verification import BenchmarkRules

BENCHMARK = "bench/many"
TASKS = 5
"""Claims of one model: each on a task of its own, so that each needs a reproduction."""

COMMIT = "c" * 40
TINY_BYTES = 270_000_000

EVAL_YAML = "name: Many\nevaluation_framework: inspect-ai\ntasks:\n" + "".join(
    f"""\
  - id: task{number}
    split: test
    field_spec: {{input: question, target: answer}}
    solvers: [{{name: generate}}]
    scorers: [{{name: includes}}]
"""
    for number in range(TASKS)
)


def load_policy(**more: Any) -> Policy:
    """Pools for the smallest and the largest model."""
    pools = (
        PoolRules(name="small", device="cpu", gpus=0, memory_gib=80),
        PoolRules(name="large", device="gpu", gpus=16, memory_gib=141),
    )
    rules = {BENCHMARK: BenchmarkRules(scale="percent", tolerance=0.02, linked_logs=False)}
    return Policy(pools=pools, benchmarks=rules, run=RunRules(queue_seconds=86_400), **more)


def add_claims(
    database: Database,
    count: int,
    *,
    community_part: float = 0.6,
    weights_bytes: int = TINY_BYTES,
    sharing: int = 1,
    value: float | None = None,
) -> None:
    """Enter `count` submitted claims, of which `sharing` at a time are on one task of one model.

    `community_part` of every ten are on pull requests. They come first by age, so that only their priority can put
    them behind. All claim `value`, or where that is None, each another.
    """
    began = now() - timedelta(hours=1)
    models, claims = [], []
    for number in range(count):
        run = number // sharing
        model_id = f"org{run // TASKS % 50}/model{run // TASKS}"
        if number % (TASKS * sharing) == 0:
            weights = hashlib.sha256(model_id.encode()).hexdigest()
            models.append(_model(model_id, weights, weights_bytes))
        community = number % 10 < 10 * community_part
        claims.append(
            {
                "claim_id": f"{number:032x}",
                "slot": hashlib.sha256(f"load slot {number}".encode()).hexdigest(),
                "model_id": model_id,
                "ref": f"refs/pr/{number + 1}" if community else "main",
                "pull_request": number + 1 if community else None,
                "path": ".eval_results/many.yaml",
                "entry": 0,
                "commit": COMMIT,
                "submitter": f"user{number % 97}",
                "dataset_id": BENCHMARK,
                "task_id": f"task{run % TASKS}",
                "value": 40.0 + number % 50 if value is None else value,
                "created_at": began + timedelta(milliseconds=number),
            }
        )
    with database.transaction() as session:
        session.add(Benchmark(dataset_id=BENCHMARK, revision=COMMIT, sizes={}))
        session.add(SpecFile(dataset_id=BENCHMARK, revision=COMMIT, text=EVAL_YAML.encode()))
        session.flush()
        session.execute(insert(Model), models)
        session.execute(insert(Claim), claims)


def _model(model_id: str, weights: str, weights_bytes: int) -> dict[str, Any]:
    return {"model_id": model_id, "revision": COMMIT, "weights_sha256": weights, "weights_bytes": weights_bytes}
