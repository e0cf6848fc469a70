"""Runs of `hf/OWNER/NAME@REV` by Inspect alone: `inspect_run.py MODEL BASE_URL LOGS SPEC...`, greedy, one by one.

Prints a JSON list with the status, scores, result and log of every task of every spec. The engine's key is in
VLLM_API_KEY, the Hub in HF_ENDPOINT. Inspect does not seed the shuffling of choices; here it is. With JUDGE, the name
of an Inspect model, that one plays every judge that a spec names.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import inspect_ai
from inspect_ai._eval.task.hf import HFTask
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfigArgs

SETTINGS: GenerateConfigArgs = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 24, "seed": 5, "max_connections": 1}


def main(model: str, base_url: str, logs: str, *specs: str) -> None:
    """Run them and print what came of it."""
    _seed_shuffling()
    if judge := os.environ.get("JUDGE"):
        _appoint(judge)
    done = inspect_ai.eval(
        list(specs),
        model=f"vllm/{model}",
        model_base_url=base_url,
        display="none",
        log_dir=logs,
        # Nobody watches: each event would be written to a database besides.
        log_realtime=False,
        max_samples=1,
        max_tasks=1,
        **SETTINGS,
    )
    sys.stdout.write("\n" + json.dumps([_said(log) for log in done]))


def _said(log: EvalLog) -> dict[str, Any]:
    scores = [
        {"id": sample.id, "epoch": sample.epoch, "target": sample.target, "score": score.value}
        for sample in log.samples or []
        for score in [next(iter((sample.scores or {}).values()))]
    ]
    results = log.results.scores if log.results is not None else []
    metrics = [
        {"scorer": score.name, **{name: metric.value for name, metric in score.metrics.items()}} for score in results
    ]
    error = log.error.message if log.error is not None else None
    found = {"task": log.eval.task, "status": log.status, "error": error, "scores": scores, "metrics": metrics}
    return {**found, "log": log.location}


def _seed_shuffling() -> None:
    shuffle = MemoryDataset.shuffle_choices
    MemoryDataset.shuffle_choices = lambda self, seed=SETTINGS["seed"]: shuffle(self, seed)  # type: ignore[method-assign]


def _appoint(judge: str) -> None:
    read = HFTask.model_validate

    def appointed(item: Any) -> HFTask:
        task: Any = read(item)
        for step in (*task.solvers, *task.scorers):
            if "model" in step.args and (step.name == "self_critique" or step.name.startswith("model_graded_")):
                step.args["model"] = judge
        return task  # type: ignore[no-any-return]

    HFTask.model_validate = appointed  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
