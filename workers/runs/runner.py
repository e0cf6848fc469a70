"""The process of one run, in the run's folder.

Waits there for a `workers.runs.run_request.RunRequest` (`order.json`), and writes `progress.jsonl` while it runs, the
Inspect log under `logs/`, and `outcome.json` last. The engine's key is in the environment (`VLLM_API_KEY`), and judges'
keys are there under the names that the order gives.

Each reproduction has a process of its own, because Inspect keeps servers and hooks for the life of a process, and so
that one that hangs or eats memory can be ended without asking it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import inspect_ai
from inspect_ai import Task, task_with
from inspect_ai._eval.task.task import PreviousTask
from inspect_ai.model import GenerateConfig, Model, get_model

from specs.errors import EvidenceError, ReprofarmError
from specs.hub.task_spec import asks_the_same
from specs.judging.stopping import stopping_rule
from specs.logs.run_log import RunLog
from specs.logs.scoring import first_score
from specs.measurement import Circumstances
from specs.messages import AttemptOutcome, Order
from specs.processes.atomic_write import write_atomically
from specs.text import clean
from workers.benchmarks.canonical import CanonicalTask, canonical_task
from workers.benchmarks.dataset_rows import LocalDataset
from workers.benchmarks.spec_file import load_task
from workers.disk_faults import is_full_disk
from workers.errors import ModelError, RequestsRefused, RunError, SpecError
from workers.runs.circumstances import versions
from workers.runs.epochs_together import ask_epochs_together
from workers.runs.generation import request_arguments, sendable
from workers.runs.interrupting import interruptible
from workers.runs.judges import judge_models, who_judged
from workers.runs.limits import follow_limit
from workers.runs.log_compression import compress_without_threads
from workers.runs.measure import Plan, measure, without_a_score
from workers.runs.progress import ProgressFile, seed_each_answer, watch
from workers.runs.refusals import EngineRefuses, whose_fault
from workers.runs.resuming import RESUMED, Earlier, Wanted, earlier_attempt, finished
from workers.runs.run_request import OUTCOME_FILE, PROGRESS_FILE, REQUEST_FILE, STARTED_OVER, RunOutcome, RunRequest
from workers.runs.stopping import StopWhenSure
from workers.runs.template_guard import guard_template
from workers.runs.waits import telling_waits
from workers.runs.watchdog import Watchdog
from workers.snapshots.completeness import check_complete

_MAX_DETAIL_CHARS = 4000
_REQUEST_RETRIES = 3
"""Of one request to the engine, for what passes by itself. Inspect's provider sees when nobody listens and does not
retry that."""

_STUCK_CPU_SECONDS = 60.0
"""A scorer that computes so long on one answer does not end; less where a stall is less than ten times that."""

_OUTCOMES: tuple[tuple[type[ReprofarmError], AttemptOutcome], ...] = (
    (ModelError, AttemptOutcome.MODEL_FAILED),
    (SpecError, AttemptOutcome.SPEC_FAILED),
    (RequestsRefused, AttemptOutcome.REQUESTS_REFUSED),
    (RunError, AttemptOutcome.WORKER_FAILED),
)


def run(request: RunRequest, folder: Path) -> RunOutcome:
    """Run an order; what goes wrong is in the outcome."""
    try:
        return _run(request, folder)
    except Exception as error:
        # First of all: a dataset for which a disk has no room cannot be read, and looks like its author's fault.
        if is_full_disk(error):
            words = f"the disk of the worker's state folder or of its cache folder is full: {error}"
            return RunOutcome(outcome=AttemptOutcome.DISK_FULL, detail=clean(words, _MAX_DETAIL_CHARS))
        for kind, outcome in _OUTCOMES:
            if isinstance(error, kind):
                return RunOutcome(outcome=outcome, detail=clean(str(error), _MAX_DETAIL_CHARS))
        raise


@dataclass(frozen=True)
class _Prepared:
    """A run before it is begun."""

    request: RunRequest
    canonical: CanonicalTask
    sample_ids: tuple[int | str, ...]
    """Those that are to be run, in the seeded order."""

    circumstances: Circumstances
    metadata: dict[str, Any]
    earlier: Earlier | None
    started_over: str
    """Why there is no earlier attempt to go on from although one was given; else empty."""


def _run(request: RunRequest, folder: Path) -> RunOutcome:
    prepared = _prepare(request)
    order, canonical, earlier = request.order, prepared.canonical, prepared.earlier
    stop = _early_stop(order, canonical, prepared.sample_ids)
    known = []
    for answer in earlier.answers() if earlier is not None else ():
        known.append((answer.id, first_score(answer)))
        if stop is not None:
            stop.answered(answer)
    total, epochs = len(prepared.sample_ids), canonical.population.epochs
    watch(ProgressFile(folder / PROGRESS_FILE, total, epochs, known), stop)
    seed_each_answer(order.seed, epochs)
    model = get_model(
        f"vllm/{request.model.model_id}",
        # Of this model alone: what a whole run is given, judges inherit, and those are away for longer at times.
        config=GenerateConfig(max_retries=_REQUEST_RETRIES),
        base_url=request.base_url,
        memoize=False,
        # An answer comes in one piece, however long it takes; whether the engine hangs is for the worker to see.
        client_timeout=request.seconds_left,
    )
    task = task_with(canonical.task, early_stopping=stop)
    follow_limit(folder, str(model))
    ask_epochs_together()
    if request.check_template:
        guard_template(len(canonical.sample_ids), partial(_end, folder, AttemptOutcome.MODEL_FAILED))
    stuck_seconds = min(_STUCK_CPU_SECONDS, order.stall_seconds / 10)
    watchdog = Watchdog(stuck_seconds, partial(_end, folder))
    with watchdog.watching(), telling_waits(folder, str(model)):
        log = _evaluate(earlier.as_previous(task) if earlier is not None else task, model, prepared, folder)
    if log is None or log.status == "cancelled":
        return _stopped(log, prepared, folder)
    counted = prepared.sample_ids[: stop.counted if stop is not None else None]
    resumed = earlier.resumed if earlier is not None else None
    plan = Plan(counted, canonical.population, str(model), resumed)
    try:
        measurement = measure(log.file, plan, prepared.circumstances)
    except EngineRefuses as refused:
        raise whose_fault(refused, request) from refused
    unscored = without_a_score(log.file) if measurement.score is None else ""
    return RunOutcome(
        outcome=AttemptOutcome.COMPLETED,
        detail="; ".join(words for words in (prepared.started_over, unscored) if words),
        measurement=measurement,
        log=str(log.file.relative_to(folder)),
    )


def _prepare(request: RunRequest) -> _Prepared:
    order = request.order
    check_complete(Path(request.model_folder))
    local = LocalDataset(Path(request.dataset_folder), request.max_dataset_rows, request.max_cell_bytes)
    task = load_task(local.folder, order.task, order.judges, allow_self_judge=order.allow_self_judge)
    judges = judge_models({name: order.judges[name] for name in task.judges if name is not None})
    definition = sendable(task.definition, request.defaults, request.context_tokens)
    if order.epochs is not None:
        # Policy's go before the spec's.
        definition = definition.model_copy(update={"epochs": order.epochs})
    repeat = request.generation.epochs_repeat
    canonical = canonical_task(order.task, definition, local, judges=judges, seed=order.seed, epochs_repeat=repeat)
    sample_ids = canonical.sample_ids[: order.sample_limit]
    circumstances = _circumstances(
        request, canonical, who_judged(task.judges, order.judges), same_prompts=asks_the_same(definition)
    )
    metadata = {
        "model": request.model.model_dump(),
        "task": order.task.model_dump(),
        "seed": order.seed,
        "generation": request.generation.model_dump(),
        "stopping": order.stopping.model_dump(mode="json") if order.stopping is not None else None,
        "circumstances": circumstances.model_dump(mode="json"),
    }
    earlier, started_over = None, request.started_over
    if request.earlier is not None:
        planned = list(canonical.task.dataset)[: order.sample_limit]
        targets = {sample.id: sample.target for sample in planned if sample.id is not None}
        log = Path(request.earlier.file)
        wanted = Wanted(metadata, targets, canonical.population.epochs)
        try:
            earlier = earlier_attempt(log, request.earlier.sha256, wanted, log.with_name("kept.eval"))
            metadata[RESUMED] = earlier.resumed.model_dump()
        except EvidenceError as error:
            started_over = f"{STARTED_OVER}{error}"
    # Not asked of the earlier attempt's log, whose targets are compared one by one.
    metadata["targets_sha256"] = canonical.population.targets_sha256
    return _Prepared(request, canonical, sample_ids, circumstances, metadata, earlier, started_over)


def _stopped(log: _Log | None, prepared: _Prepared, folder: Path) -> RunOutcome:
    """The outcome of a run that was told to stop: what of it can be gone on from."""
    kept = finished(log.file) if log is not None else Counter[int | str]()
    epochs = prepared.canonical.population.epochs
    whole = sum(count == epochs for count in kept.values())
    words = f"{whole} of {len(prepared.sample_ids)} samples are kept"
    if kept.total() > whole * epochs:
        words += f", and {kept.total() - whole * epochs} answers to others"
    if prepared.started_over:
        words += f"; it had {prepared.started_over}"
    name = str(log.file.relative_to(folder)) if log is not None and kept.total() else None
    return RunOutcome(outcome=AttemptOutcome.HANDED_BACK, detail=words, log=name, kept_answers=kept.total())


def _end(folder: Path, outcome: AttemptOutcome, words: str, for_operators: str = "") -> NoReturn:
    """End this process where it stands: Inspect would take an error for one sample's, and meet the next."""
    _write_outcome(folder, RunOutcome(outcome=outcome, detail=words, for_operators=for_operators))
    os._exit(0)


def _write_outcome(folder: Path, outcome: RunOutcome) -> None:
    write_atomically(folder / OUTCOME_FILE, outcome.model_dump_json())


def _early_stop(order: Order, canonical: CanonicalTask, sample_ids: Sequence[int | str]) -> StopWhenSure | None:
    """What stops the run early; None where it is to run every sample."""
    if order.stopping is None:
        return None
    rule = stopping_rule(order.stopping, canonical.population)
    return StopWhenSure(rule, sample_ids, canonical.population.epochs, canonical.population.reducer)


@dataclass(frozen=True)
class _Log:
    file: Path
    status: str
    """Inspect's word for how the run ended."""


def _evaluate(task: Task | PreviousTask, model: Model, prepared: _Prepared, folder: Path) -> _Log | None:
    """Have Inspect run the task, to its end or until the worker tells it to stop; None where that was at once."""
    request = prepared.request
    arguments = request_arguments(request.defaults)
    arguments["max_connections"] = request.concurrency
    arguments["cache"] = False
    interrupted = True
    with suppress(KeyboardInterrupt), interruptible(folder):
        inspect_ai.eval(
            task,
            model=model,
            limit=request.order.sample_limit,
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
            metadata=prepared.metadata,
            **arguments,
        )
        interrupted = False
    logs = list((folder / "logs").glob("*.eval"))
    if interrupted and not logs:
        return None
    if len(logs) != 1:
        raise RunError(f"Inspect wrote {len(logs)} logs")
    try:
        with RunLog(logs[0]) as log:
            return _Log(logs[0], log.header().status)
    except EvidenceError as error:
        if interrupted:
            return None
        raise RunError(str(error)) from error


def _circumstances(
    request: RunRequest, canonical: CanonicalTask, judges: dict[str, str], *, same_prompts: bool
) -> Circumstances:
    return Circumstances(
        versions=versions(),
        hardware=request.hardware,
        engine_arguments=request.engine_arguments,
        batch_invariant=request.batch_invariant,
        generation=request.generation,
        seed=request.order.seed,
        chat_template_sha256=request.chat_template_sha256,
        epochs=canonical.population.epochs,
        epoch_reducer=canonical.population.reducer,
        same_prompts=same_prompts,
        judges=judges,
    )


def _awaited_request(folder: Path) -> RunRequest:
    file = folder / REQUEST_FILE
    while not file.exists():
        time.sleep(0.1)
    return RunRequest.model_validate_json(file.read_bytes())


def main(folder: Path) -> None:
    """Do the run whose order is, or will be, in a folder, an absolute path; ends when the outcome is written there."""
    os.chdir(folder)
    # Inspect loads the first .env that it finds above the working folder.
    (folder / ".env").touch()
    compress_without_threads()
    _write_outcome(folder, run(_awaited_request(folder), folder))
