"""A run by Inspect without a model: `python said_run.py LOGS RUN`; prints where the log is.

RUN is a file of JSON with `targets` and `said` (of each sample an answer for each epoch).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, _assistant_internal
from inspect_ai.scorer import exact
from inspect_ai.solver import Generate, Solver, TaskState, solver


@solver
def say() -> Solver:
    """Answer as was written down."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        state.output = ModelOutput.from_content("m", state.metadata["said"][state.epoch - 1])
        state.completed = True
        return state

    return solve


def main(logs: str, run: dict[str, Any]) -> None:
    """Run it and print where the log is."""
    # No model of theirs is asked, and Inspect, which does without what is not installed, would import their clients.
    _assistant_internal._HAS_OPENAI = _assistant_internal._HAS_ANTHROPIC = False
    samples = [
        Sample(id=number, input=f"{number}?", target=target, metadata={"said": said})
        for number, (target, said) in enumerate(zip(run["targets"], run["said"], strict=True), start=1)
    ]
    task = Task(
        dataset=MemoryDataset(samples),
        solver=say(),
        scorer=exact(),
        epochs=Epochs(len(run["said"][0]), "mean"),
    )
    # Nobody looks while it runs.
    (log,) = inspect_ai.eval(
        task,
        model="none/none",
        display="none",
        log_dir=logs,
        temperature=0.0,
        log_samples=True,
        log_realtime=False,
        ctl_server=False,
    )
    sys.stdout.write(f"\n{log.location}")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
