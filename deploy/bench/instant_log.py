"""Evidence for runs that never took place: one log by Inspect itself, and for each run a copy with a header of its own.

What the control plane checks of a report it checks of these too; that is part of what a verdict costs.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from deploy.bench.greedy import GREEDY
from specs.judging.sample_order import seeded_order
from specs.judging.stopping import targets_sha256
from specs.logs.evidence import path_in_store
from specs.logs.run_scores import mean_of, standard_error_of
from specs.measurement import Circumstances, Evidence, Measurement
from specs.messages import ModelRef, Order

SAMPLES = 20
"""As few as decide anything by default, so that the farm's own work is what takes time."""

SCORER = "exact"
RIGHT = 10
HEADER = "header.json"

GENERATION = GREEDY.model_copy(update={"max_tokens": 16})


def write_template(folder: Path) -> Path:
    """A log of `SAMPLES` answers, of which the first `RIGHT` are right; takes some seconds, most of them imports."""
    import inspect_ai  # noqa: PLC0415
    from inspect_ai.dataset import MemoryDataset, Sample  # noqa: PLC0415
    from inspect_ai.model import ModelOutput  # noqa: PLC0415
    from inspect_ai.scorer import exact  # noqa: PLC0415
    from inspect_ai.solver import Generate, Solver, TaskState, solver  # noqa: PLC0415

    @solver
    def say() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            del generate
            state.output = ModelOutput.from_content("m", "yes" if int(state.sample_id) <= RIGHT else "no")
            state.completed = True
            return state

        return solve

    samples = [Sample(id=number, input=f"{number}?", target="yes") for number in range(1, SAMPLES + 1)]
    task = inspect_ai.Task(dataset=MemoryDataset(samples), solver=say(), scorer=exact())
    (log,) = inspect_ai.eval(task, model="none/none", display="none", log_dir=str(folder), log_samples=True)
    return Path(log.location)


class InstantLogs:
    """Stores the evidence of runs that never took place."""

    def __init__(self, template: Path, store: Path) -> None:
        self._store = store
        with zipfile.ZipFile(template) as log:
            self._header = json.loads(log.read(HEADER))
            parts = {name: log.read(name) for name in log.namelist() if name != HEADER}
        content = BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as rest:
            for name, part in parts.items():
                rest.writestr(name, part)
        self._rest = content.getvalue()

    def stored(self, model: ModelRef, order: Order) -> tuple[Measurement, Evidence]:
        """What the order's run would have measured, with a log of it in the store."""
        measured = _measurement(order)
        said = {
            "model": model.model_dump(mode="json"),
            "task": order.task.model_dump(mode="json"),
            "seed": order.seed,
            "generation": GENERATION.model_dump(mode="json"),
            "circumstances": measured.circumstances.model_dump(mode="json"),
            "targets_sha256": measured.targets_sha256,
            "stopping": order.stopping.model_dump(mode="json") if order.stopping is not None else None,
        }
        header = {**self._header, "eval": {**self._header["eval"], "model": f"vllm/{model.model_id}", "metadata": said}}
        content = BytesIO(self._rest)
        with zipfile.ZipFile(content, "a") as log:
            log.writestr(HEADER, json.dumps(header))
        whole = content.getvalue()
        evidence = Evidence(sha256=hashlib.sha256(whole).hexdigest(), size_bytes=len(whole))
        path = self._store / path_in_store(evidence.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
        return measured, evidence


def _measurement(order: Order) -> Measurement:
    sample_ids = tuple(seeded_order(range(1, SAMPLES + 1), order.seed))
    scores = tuple(float(each <= RIGHT) for each in sample_ids)
    at = datetime.now(UTC)
    return Measurement(
        scorer=SCORER,
        score=mean_of(scores),
        standard_error=standard_error_of(scores),
        population=SAMPLES,
        targets_sha256=targets_sha256(["yes"] * SAMPLES),
        sample_ids=sample_ids,
        sample_scores=scores,
        truncated=0,
        unparsed=0,
        ignored=0,
        other_scorers={},
        input_tokens=0,
        output_tokens=0,
        started_at=at,
        ended_at=at,
        circumstances=Circumstances(
            versions={"vllm": "none"},
            hardware="none",
            engine_arguments=(),
            generation=GENERATION,
            seed=order.seed,
            chat_template_sha256=None,
            epochs=1,
            judges={},
        ),
    )


if __name__ == "__main__":
    sys.stdout.write(f"\n{write_template(Path(sys.argv[1]))}\n")
