"""A batch: reproductions of one model, one after the other, on one engine."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from specs.errors import EngineError, EvidenceError, HubAway, NoAccess, ReprofarmError
from specs.log_lines import about
from specs.measurement import Evidence, Measurement, PartialLog
from specs.messages import AttemptOutcome, AttemptRef, Order, Progress, Report, RunBatch, Stage
from workers.circumstances import chat_template_sha256, hardware
from workers.disk import is_full_disk
from workers.engine import Engine
from workers.errors import DeviceBusy, DiskFull, Dropped, ModelError, OutOfMemory, SpecError, ToldToStop
from workers.evidence import fetch, store
from workers.generation import generation_config, resolve
from workers.handing_back import HandingBack
from workers.judges import judge_keys
from workers.messenger import Messenger
from workers.run_process import RunProcess
from workers.run_request import STARTED_OVER, EarlierLog, RunOutcome, RunProgress, RunRequest
from workers.spec_file import load_task
from workers.workbench import Workbench

_MAX_DETAIL_CHARS = 8000
_MAX_TAIL_CHARS = 2000
_OURS = (AttemptOutcome.ENGINE_FAILED, AttemptOutcome.WORKER_FAILED)
_TOLD = "it was told to stop; "
_WAITED = "this one waited behind others of its batch"
_NONE_BEGUN = "no sample was begun"
_log = logging.getLogger(__name__)

# What an error says of an attempt; the first that fits. Everything else is the worker's own failure.
_OUTCOMES: tuple[tuple[type[Exception], AttemptOutcome], ...] = (
    (ModelError, AttemptOutcome.MODEL_FAILED),
    (OutOfMemory, AttemptOutcome.OUT_OF_MEMORY),
    (EngineError, AttemptOutcome.ENGINE_FAILED),
    (SpecError, AttemptOutcome.SPEC_FAILED),
    (HubAway, AttemptOutcome.HUB_AWAY),
    (NoAccess, AttemptOutcome.NO_ACCESS),
    (DiskFull, AttemptOutcome.DISK_FULL),
    (DeviceBusy, AttemptOutcome.DEVICE_BUSY),
)


@dataclass(frozen=True)
class _Ended:
    outcome: AttemptOutcome
    detail: str
    measurement: Measurement | None = None
    evidence: Evidence | None = None
    partial: PartialLog | None = None
    retry_after_seconds: float | None = None


class BatchRun:
    """One batch on one workbench. Each order ends in one report, or is dropped and ends in none."""

    def __init__(self, batch: RunBatch, bench: Workbench, messenger: Messenger) -> None:
        self._batch = batch
        self._bench = bench
        self._messenger = messenger
        self._left = {order.ref: order for order in batch.orders}
        self._handing_back = HandingBack(bench.stop_mark, bench.settings.hand_back_seconds)
        self._model_fault: Exception | None = None
        self._spare: RunProcess | None = None
        self._tail: str | None = None
        self._tail_told_at = 0.0

    def run(self) -> None:
        """Work through the orders."""
        for ref in self._left:
            self._messenger.progress(Progress(ref=ref, stage=Stage.WAITING))
        try:
            with self._handing_back.at_the_latest(self._give_back):
                for order in self._batch.orders:
                    self._attempt(order)
        finally:
            if self._spare is not None:
                self._spare.stop()
                shutil.rmtree(self._spare.folder, ignore_errors=True)
            if self._handing_back.is_due:
                self._bench.engines.stop()

    def _attempt(self, order: Order) -> None:
        with about(reproduction_id=order.ref.reproduction_id, attempt=order.ref.attempt):
            self._try(order)

    def _try(self, order: Order) -> None:
        begun = False
        try:
            self._check_wanted(order.ref)
            begun = True
            ended = self._run_order(order)
        except Dropped:
            _log.info("dropped %s, attempt %d: not wanted any more", order.ref.reproduction_id, order.ref.attempt)
            self._left.pop(order.ref, None)
            self._messenger.forget(order.ref)
            return
        except ToldToStop:
            ended = _Ended(AttemptOutcome.HANDED_BACK, _TOLD + (_NONE_BEGUN if begun else _WAITED))
        except Exception as error:  # noqa: BLE001 - one order's failure is its own, and reported; the batch goes on
            ended = _failure(error)
        self._report(order, ended)

    def _give_back(self) -> None:
        """Hand back what is left, from another thread: this one may be busy for longer than the grace time."""
        for order in list(self._left.values()):
            self._report(order, _Ended(AttemptOutcome.HANDED_BACK, f"{_TOLD}nothing was stored in time"))

    def _report(self, order: Order, ended: _Ended) -> None:
        if self._left.pop(order.ref, None) is None:
            return
        if ended.outcome in _OURS and self._handing_back.is_due:
            # A node that goes down may take the engine before it takes the worker.
            ended = _Ended(AttemptOutcome.HANDED_BACK, f"{_TOLD}nothing is kept: {ended.detail}")
        _log.info("%s, attempt %d: %s", order.ref.reproduction_id, order.ref.attempt, ended.outcome)
        self._messenger.report(
            Report(
                ref=order.ref,
                worker=self._bench.name,
                model=self._batch.model,
                task=order.task,
                outcome=ended.outcome,
                detail=ended.detail[:_MAX_DETAIL_CHARS],
                measurement=ended.measurement,
                evidence=ended.evidence,
                partial=ended.partial,
                retry_after_seconds=ended.retry_after_seconds,
            )
        )

    def _run_order(self, order: Order) -> _Ended:
        began = time.monotonic()
        batch, settings = self._batch, self._bench.settings
        self._messenger.progress(Progress(ref=order.ref, stage=Stage.FETCHING))
        dataset = self._bench.snapshots.dataset(order.task)
        self._check_wanted(order.ref)
        task = load_task(dataset, order.task, order.judges, allow_self_judge=order.allow_self_judge)
        snapshot, engine = self._model_and_engine(order)
        self._check_wanted(order.ref)
        wishes = generation_config(snapshot)
        generation = resolve(order.generation, task.definition, wishes, order.seed, engine.context_tokens)
        process = self._take_run_process()
        try:
            earlier, started_over = self._earlier(order, process.folder)
            request = RunRequest(
                order=order,
                model=batch.model,
                base_url=engine.base_url,
                concurrency=batch.engine.concurrency,
                dataset_folder=str(dataset),
                model_folder=str(snapshot),
                generation=generation,
                max_dataset_rows=settings.max_dataset_rows,
                max_cell_bytes=self._bench.max_cell_bytes,
                hardware=hardware(batch.gpus),
                engine_arguments=engine.arguments,
                chat_template_sha256=chat_template_sha256(snapshot),
                earlier=earlier,
                started_over=started_over,
            )
            if len(self._left) > 1:
                # It imports lighteval while this run goes on.
                self._spare = self._new_run_process()
            outcome = process.run(request, engine, began, partial(self._running, order.ref))
            if outcome.outcome is AttemptOutcome.STALLED:
                # It may be the engine that hangs; the next order gets a new one.
                self._bench.engines.stop()
            if outcome.outcome is AttemptOutcome.HANDED_BACK:
                return self._kept(order, outcome, process.folder)
            if outcome.measurement is None or outcome.log is None:
                return _Ended(outcome.outcome, outcome.detail)
            self._messenger.progress(Progress(ref=order.ref, stage=Stage.STORING))
            evidence = store(process.folder / outcome.log, settings.evidence_url)
            self._check_not_dropped(order.ref)
            return _Ended(outcome.outcome, outcome.detail, outcome.measurement, evidence)
        finally:
            process.stop()
            shutil.rmtree(process.folder, ignore_errors=True)

    def _earlier(self, order: Order, folder: Path) -> tuple[EarlierLog | None, str]:
        """The partial log to go on from; where there is none although one was named, why not."""
        if order.resume is None:
            return None, ""
        file = folder / "earlier.eval"
        try:
            fetch(order.resume, self._bench.settings.evidence_url, file)
        except EvidenceError as error:
            return None, f"{STARTED_OVER}{error}"
        return EarlierLog(file=str(file), sha256=order.resume.sha256), ""

    def _kept(self, order: Order, outcome: RunOutcome, folder: Path) -> _Ended:
        """What is handed back of a run that was told to stop."""
        if outcome.log is None:
            return _Ended(AttemptOutcome.HANDED_BACK, _TOLD + outcome.detail)
        self._messenger.progress(Progress(ref=order.ref, stage=Stage.STORING))
        try:
            log = store(folder / outcome.log, self._bench.settings.evidence_url)
        except Exception as error:  # noqa: BLE001 - whatever keeps the log from being stored, the order is handed back
            _log.warning("a partial log was not stored", exc_info=error)
            return _Ended(AttemptOutcome.HANDED_BACK, f"{_TOLD}nothing is kept: the log was not stored: {error}")
        partial_log = PartialLog(sha256=log.sha256, size_bytes=log.size_bytes, answers=outcome.kept_answers)
        return _Ended(AttemptOutcome.HANDED_BACK, _TOLD + outcome.detail, partial=partial_log)

    def _model_and_engine(self, order: Order) -> tuple[Path, Engine]:
        """The model's snapshot and an engine for it. What failed for one order of the batch fails for all."""
        if self._model_fault is not None:
            raise self._model_fault
        batch = self._batch
        try:
            snapshot = self._bench.snapshots.model(batch.model)
            self._messenger.progress(Progress(ref=order.ref, stage=Stage.STARTING_ENGINE))
            if self._spare is None:
                # In the time that an engine takes to start.
                self._spare = self._new_run_process()
            engine = self._bench.engines.engine_for(
                batch.model, snapshot, batch.engine, batch.gpus, partial(self._starting, order.ref)
            )
        except (Dropped, ToldToStop):
            raise
        except Exception as error:
            self._model_fault = error
            raise
        return snapshot, engine

    def _new_run_process(self) -> RunProcess:
        keys = judge_keys(judge for order in self._batch.orders for judge in order.judges.values())
        bench = self._bench
        return RunProcess(bench.run_folder(), bench.settings.cache_folder.absolute(), bench.engines.api_key, keys)

    def _take_run_process(self) -> RunProcess:
        process, self._spare = self._spare, None
        return self._new_run_process() if process is None else process

    def _starting(self, ref: AttemptRef) -> None:
        self._check_any_wanted()
        self._messenger.progress(Progress(ref=ref, stage=Stage.STARTING_ENGINE, log_tail=self._log_tail()))

    def _running(self, ref: AttemptRef, progress: RunProgress | None) -> None:
        self._check_wanted(ref)
        done, total, score = (progress.done, progress.total, progress.score) if progress else (0, None, None)
        self._messenger.progress(
            Progress(
                ref=ref,
                stage=Stage.RUNNING,
                samples_done=done,
                samples_total=total,
                score=score,
                log_tail=self._log_tail(),
            )
        )

    def _log_tail(self) -> str | None:
        """The engine's last lines, read once a heartbeat: what is known should this worker die."""
        now = time.monotonic()
        if now - self._tail_told_at >= self._batch.heartbeat_seconds:
            self._tail_told_at = now
            self._tail = self._bench.engines.log_tail()[-_MAX_TAIL_CHARS:] or None
        return self._tail

    def _check_wanted(self, ref: AttemptRef) -> None:
        self._check_not_dropped(ref)
        self._handing_back.check()

    def _check_not_dropped(self, ref: AttemptRef) -> None:
        if self._bench.drops.has(ref):
            raise Dropped(f"{ref.reproduction_id}, attempt {ref.attempt}")

    def _check_any_wanted(self) -> None:
        """An engine that starts for one order serves the others too, so it is stopped only if none is wanted."""
        if all(self._bench.drops.has(ref) for ref in list(self._left)):
            raise Dropped("every attempt that is left in the batch")
        self._handing_back.check()


def _failure(error: Exception) -> _Ended:
    if not isinstance(error, ReprofarmError) and is_full_disk(error):
        return _Ended(AttemptOutcome.DISK_FULL, f"no room on a disk of this worker, or in the evidence store: {error}")
    outcome = next((each for kind, each in _OUTCOMES if isinstance(error, kind)), AttemptOutcome.WORKER_FAILED)
    detail = str(error)
    if outcome is AttemptOutcome.WORKER_FAILED and not isinstance(error, ReprofarmError):
        _log.error("unexpected failure", exc_info=error)
        detail = f"{type(error).__name__}: {error}"
    tail = getattr(error, "log_tail", "")
    if tail:
        # The end of a log says most.
        detail = f"{detail[:2000]}\n{tail[-(_MAX_DETAIL_CHARS - 2001) :]}"
    return _Ended(outcome, detail, retry_after_seconds=getattr(error, "retry_after_seconds", None))
