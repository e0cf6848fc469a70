"""The process of one run: `python -m workers.runner ORDER.json OUTFOLDER [--wait]`.

Reads a `workers.run_request.RunRequest` and writes to the folder: `progress.jsonl` while it runs, the Inspect log under
`logs/`, and `outcome.json` last. The engine's key is in the environment (`VLLM_API_KEY`), judges' keys under the names
that the order gives. With `--wait`, the order may come later: importing lighteval takes many seconds, in which an
engine can start or another run can end.

Each reproduction has a process of its own, because Inspect keeps servers and hooks for the life of a process, and so
that one that hangs or eats memory can be ended without asking it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import inspect_ai
from inspect_ai import Task, task_with
from inspect_ai.model import Model, get_model

from specs.measurement import Circumstances
from specs.messages import AttemptOutcome, Order
from specs.stopping import stopping_rule
from specs.text import clean
from workers.canonical import CanonicalTask, canonical_task
from workers.circumstances import versions
from workers.completeness import check_complete
from workers.dataset_rows import LocalDataset
from workers.disk import is_full_disk
from workers.errors import ModelError, RunError, SpecError
from workers.generation import request_arguments
from workers.judges import judge_models, who_judged
from workers.measure import Plan, measure, sample_errors
from workers.progress import ProgressFile, seed_each_epoch, watch
from workers.run_request import OUTCOME_FILE, PROGRESS_FILE, RunOutcome, RunRequest
from workers.spec_file import load_task
from workers.stopping import StopWhenSure
from workers.stuck import StuckWatch

_MAX_DETAIL_CHARS = 4000
_REQUEST_RETRIES = 3
"""Of one request, for what passes by itself. Inspect's provider sees when nobody listens and does not retry that."""

_STUCK_CPU_SECONDS = 60.0
"""A scorer that computes so long on one answer does not end; less where a stall is less than ten times that."""


def run(request: RunRequest, folder: Path) -> RunOutcome:
    """Run an order; what goes wrong is in the outcome."""
    try:
        return _run(request, folder)
    except ModelError as error:
        return RunOutcome(outcome=AttemptOutcome.MODEL_FAILED, detail=clean(str(error), _MAX_DETAIL_CHARS))
    except SpecError as error:
        return RunOutcome(outcome=AttemptOutcome.SPEC_FAILED, detail=clean(str(error), _MAX_DETAIL_CHARS))
    except OSError as error:
        if not is_full_disk(error):
            raise
        words = f"the disk of the worker's state folder is full: {error}"
        return RunOutcome(outcome=AttemptOutcome.DISK_FULL, detail=clean(words, _MAX_DETAIL_CHARS))
    except RunError as error:
        return RunOutcome(outcome=AttemptOutcome.WORKER_FAILED, detail=clean(str(error), _MAX_DETAIL_CHARS))


def _run(request: RunRequest, folder: Path) -> RunOutcome:
    order = request.order
    check_complete(Path(request.model_folder))
    local = LocalDataset(Path(request.dataset_folder), request.max_dataset_rows, request.max_cell_bytes)
    task = load_task(local.folder, order.task, order.judges, allow_self_judge=order.allow_self_judge)
    judges = judge_models({name: order.judges[name] for name in task.judges if name is not None})
    canonical = canonical_task(order.task, task.definition, local, judges=judges, seed=order.seed, epochs=order.epochs)
    sample_ids = canonical.sample_ids[: order.sample_limit]
    stop = _early_stop(order, canonical, sample_ids)
    watch(ProgressFile(folder / PROGRESS_FILE, len(sample_ids), canonical.population.epochs), stop)
    if request.generation.sources.get("seed") != "spec":
        seed_each_epoch(order.seed)
    model = get_model(
        f"vllm/{request.model.model_id}",
        base_url=request.base_url,
        memoize=False,
        client_timeout=order.stall_seconds,
    )
    stuck = StuckWatch(min(_STUCK_CPU_SECONDS, order.stall_seconds / 10), lambda words: _end_stuck(folder, words))
    with stuck.watching():
        log = Path(_evaluate(task_with(canonical.task, early_stopping=stop), model, request, folder))
    counted = sample_ids[: stop.counted if stop is not None else None]
    plan = Plan(counted, canonical.population, canonical.reducer, str(model))
    measurement = measure(log, plan, _circumstances(request, canonical, who_judged(task.judges, order.judges)))
    if not measurement.scored:
        errors = sample_errors(log)
        raise RunError(f"not one sample was scored: {errors[0] if errors else 'no scorer gave a number'}")
    return RunOutcome(
        outcome=AttemptOutcome.COMPLETED, detail="", measurement=measurement, log=str(log.relative_to(folder))
    )


def _end_stuck(folder: Path, words: str) -> NoReturn:
    """End this process where it stands: Inspect would take an error for one sample's, and meet the next."""
    _write_outcome(folder, RunOutcome(outcome=AttemptOutcome.SPEC_FAILED, detail=words))
    os._exit(0)


def _write_outcome(folder: Path, outcome: RunOutcome) -> None:
    unfinished = folder / f"{OUTCOME_FILE}.unfinished"
    unfinished.write_text(outcome.model_dump_json())
    unfinished.replace(folder / OUTCOME_FILE)


def _early_stop(order: Order, canonical: CanonicalTask, sample_ids: Sequence[int | str]) -> StopWhenSure | None:
    """What stops the run early; None where it is to run every sample."""
    if order.stopping is None:
        return None
    rule = stopping_rule(order.stopping, canonical.population)
    return StopWhenSure(rule, sample_ids, canonical.population.epochs, canonical.reducer)


def _evaluate(task: Task, model: Model, request: RunRequest, folder: Path) -> str:
    """Have Inspect run the task; where its log is."""
    order = request.order
    arguments = request_arguments(request.generation)
    arguments["max_connections"] = request.concurrency
    arguments["max_retries"] = _REQUEST_RETRIES
    arguments["cache"] = False
    logs = inspect_ai.eval(
        task,
        model=model,
        limit=order.sample_limit,
        # One answer that fails is a sample without a score, not the end of the run.
        fail_on_error=False,
        max_samples=request.concurrency,
        display="none",
        ctl_server=False,
        score_display=False,
        log_dir=str(folder / "logs"),
        log_format="eval",
        log_level="warning",
        log_realtime=False,
        log_images=True,
        metadata={
            "model": request.model.model_dump(),
            "task": order.task.model_dump(),
            "seed": order.seed,
            "generation": request.generation.model_dump(),
            "stopping": order.stopping.model_dump(mode="json") if order.stopping is not None else None,
        },
        **arguments,
    )
    if not logs:
        raise RunError("Inspect ran nothing")
    return logs[0].location


def _circumstances(request: RunRequest, canonical: CanonicalTask, judges: dict[str, str]) -> Circumstances:
    return Circumstances(
        versions=versions(),
        hardware=request.hardware,
        engine_arguments=request.engine_arguments,
        generation=request.generation,
        seed=request.order.seed,
        chat_template_sha256=request.chat_template_sha256,
        epochs=canonical.population.epochs,
        judges=judges,
    )


def _read_request(file: Path, *, wait: bool) -> RunRequest:
    while wait and not file.exists():
        time.sleep(0.1)
    return RunRequest.model_validate_json(file.read_bytes())


def main(arguments: list[str]) -> int:
    """Run the order in a file; 0 when an outcome was written, whatever it is."""
    order_file, folder = (Path(argument).absolute() for argument in arguments[:2])
    os.chdir(folder)
    # Inspect loads the first .env that it finds above the working folder.
    (folder / ".env").touch()
    outcome = run(_read_request(order_file, wait="--wait" in arguments[2:]), folder)
    _write_outcome(folder, outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
