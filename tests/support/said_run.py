"""A run by Inspect without a model: `python said_run.py LOGS < RUN`; prints where the log is.

RUN is JSON with `targets` and `said` (of each sample an answer for each epoch).
"""

from __future__ import annotations

import json
import sys
from typing import Any

# No model of theirs is asked, and Inspect does without what an installation lacks: half of what a run imports.
sys.modules.update(dict.fromkeys(("openai", "anthropic")))  # type: ignore[arg-type]

import inspect_ai  # noqa: E402
from inspect_ai import Epochs, Task  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import ModelOutput  # noqa: E402
from inspect_ai.scorer import exact  # noqa: E402
from inspect_ai.solver import Generate, Solver, TaskState, solver  # noqa: E402


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
    (log,) = inspect_ai.eval(
        task, model="none/none", display="none", log_dir=logs, temperature=0.0, log_samples=True, ctl_server=False
    )
    sys.stdout.write(f"\n{log.location}")


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
