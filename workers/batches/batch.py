"""A batch: reproductions of one model on one engine, some of them side by side."""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from specs.errors import EvidenceAway, EvidenceError
from specs.logs.evidence import MAX_LOG_BYTES
from specs.measurement import Evidence, PartialLog
from specs.messages import AWAITS_STORE, AttemptOutcome, AttemptRef, Order, Progress, RunBatch, Stage
from specs.processes.log_lines import about
from specs.processes.secrets import Masking
from workers.batches.evidence import fetch, patiently, store
from workers.batches.fetching import fetched
from workers.batches.flow_control import FlowControl
from workers.batches.handing_back import HandingBack
from workers.batches.message_size import readable_report
from workers.batches.messenger import Messenger
from workers.batches.order_end import Ended, failure, report_of
from workers.batches.shared_engine import SharedEngine
from workers.batches.workbench import Workbench
from workers.benchmarks.spec_file import RunnableTask, load_task
from workers.engines.engine import Engine
from workers.errors import Dropped, SpecError, ToldToStop
from workers.runs.circumstances import chat_template_sha256, hardware
from workers.runs.generation import generation_config, resolve
from workers.runs.judges import check_judges, judge_environment
from workers.runs.run_process import RunProcess
from workers.runs.run_request import STARTED_OVER, EarlierLog, RunOutcome, RunProgress, RunRequest

_MAX_TAIL_CHARS = 2000
_OURS = (AttemptOutcome.ENGINE_FAILED, AttemptOutcome.WORKER_FAILED)
_TOLD = "it was told to stop; "
_WAITED = "this one waited behind others of its batch"
_NONE_BEGUN = "no sample was begun"
_EARLIER_PATIENCE_SECONDS = 600.0
"""For a store that has the log to go on from, and is away; then the run starts over."""

_KEEP_PATIENCE_SECONDS = 600.0
"""For a store that is away when a run ends whose judge is."""

_REPORT_SECONDS = 2.0
"""Of the time to hand back, for reporting what is not stored by then."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready:
    """What a run needs to be there."""

    task: RunnableTask
    dataset: Path
    model: Path
    """Snapshots."""

    engine: Engine


class BatchRun:
    """One batch on one workbench. Each order ends in one report, or is dropped and ends in none."""

    def __init__(self, batch: RunBatch, bench: Workbench, messenger: Messenger) -> None:
        self._batch = batch
        self._bench = bench
        self._messenger = messenger
        self._masking = Masking(bench.settings.secrets)
        self._left = {order.ref: order for order in batch.orders}
        self._handing_back = HandingBack(bench.stop_mark, bench.settings.hand_back_seconds)
        self._engine = SharedEngine(batch, bench)
        self._flow = FlowControl(batch.engine.concurrency)
        self._tail: str | None = None
        self._tail_told_at = 0.0

    def run(self) -> None:
        """Work through the orders."""
        for ref in self._left:
            self._messenger.progress(Progress(ref=ref, stage=Stage.WAITING))
        try:
            with self._bench.snapshots.uses.held(), self._handing_back.at_the_latest(self._give_back):
                for alone, orders in groupby(self._batch.orders, lambda order: order.alone):
                    self._work_through(list(orders), at_once=1 if alone else self._batch.side_by_side)
        finally:
            self._engine.close()
            if self._handing_back.is_due:
                self._bench.engines.stop()

    def _work_through(self, orders: Sequence[Order], at_once: int) -> None:
        """Attempt orders in their sequence, so many at once at most."""
        todo = iter(orders)
        broken: list[BaseException] = []

        def work() -> None:
            while (order := next(todo, None)) is not None:
                self._attempt(order)

        def work_beside() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again below, by the thread that runs the batch
                broken.append(error)

        count = min(at_once, len(orders)) - 1
        # Daemons: a worker that is ended does not wait for its runs, which end with it (workers/processes/guarded.py).
        beside = [
            # In a copy of this thread's context, which says for the log what batch it is.
            threading.Thread(target=copy_context().run, args=(work_beside,), name=f"order {n}", daemon=True)
            for n in range(count)
        ]
        for thread in beside:
            thread.start()
        work()
        for thread in beside:
            thread.join()
        if broken:
            raise broken[0]

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
            ended = Ended(AttemptOutcome.HANDED_BACK, _TOLD + (_NONE_BEGUN if begun else _WAITED))
        except Exception as error:  # noqa: BLE001 - one order's failure is its own, and reported; the batch goes on
            ended = failure(error)
        self._report(order, ended)

    def _give_back(self) -> None:
        """Hand back what is left, from another thread: this one may be busy for longer than the grace time."""
        for order in list(self._left.values()):
            self._report(order, Ended(AttemptOutcome.HANDED_BACK, f"{_TOLD}nothing was stored in time"))

    def _report(self, order: Order, ended: Ended) -> None:
        if self._left.pop(order.ref, None) is None:
            return
        if ended.outcome in _OURS and self._handing_back.is_due:
            # A node that goes down may take the engine before it takes the worker.
            ended = Ended(AttemptOutcome.HANDED_BACK, f"{_TOLD}nothing is kept: {ended.detail}")
        _log.info("%s, attempt %d: %s", order.ref.reproduction_id, order.ref.attempt, ended.outcome)
        ended = replace(ended, detail=self._masking.mask(ended.detail))
        self._messenger.report(readable_report(report_of(order, self._batch, self._bench.name, ended)))

    def _run_order(self, order: Order) -> Ended:
        began = time.monotonic()
        until = began + order.deadline_seconds
        self._messenger.progress(Progress(ref=order.ref, stage=Stage.FETCHING))
        wanted = partial(self._check_wanted, order.ref)
        dataset = fetched(partial(self._bench.snapshots.dataset, order.task), wanted, until)
        wanted()
        task = load_task(dataset, order.task, order.judges, allow_self_judge=order.allow_self_judge)
        asked = {name: order.judges[name] for name in task.judges if name is not None}
        fetched(partial(check_judges, asked), wanted, math.inf)
        starting = partial(self._starting, order.ref)
        with self._engine.used(wanted, self._check_any_wanted, starting, until) as (snapshot, engine, others):
            began, until = began + others, until + others
            wanted()
            process = self._new_run_process()
            try:
                with self._flow.joined(process.folder) as share:
                    ready = _Ready(task, dataset, snapshot, engine)
                    request = self._request(order, ready, process.folder, share, until)
                    outcome = process.run(request, engine, began, partial(self._running, order.ref, process, engine))
                    engine_share = self._flow.engine_share(process.folder)
                if outcome.for_operators:
                    _log.warning("%s: %s", order.ref.reproduction_id, self._masking.mask(outcome.for_operators))
                if outcome.outcome is AttemptOutcome.STALLED:
                    self._engine.suspect()
                if outcome.outcome in (AttemptOutcome.HANDED_BACK, AttemptOutcome.JUDGE_AWAY):
                    return self._kept(order, outcome, process.folder)
                return self._ended(order, outcome, process.folder, engine_share)
            finally:
                process.stop()
                shutil.rmtree(process.folder, ignore_errors=True)

    def _request(self, order: Order, ready: _Ready, folder: Path, share: int, until: float) -> RunRequest:
        engine, definition = ready.engine, ready.task.definition
        wishes, context = generation_config(ready.model), engine.context_tokens
        earlier, started_over = self._earlier(order, folder)
        return RunRequest(
            order=order,
            model=self._batch.model,
            base_url=engine.base_url,
            seconds_left=max(1.0, until - time.monotonic()),
            concurrency=share,
            dataset_folder=str(ready.dataset),
            model_folder=str(ready.model),
            generation=resolve(order.generation, definition, wishes, order.seed, context),
            defaults=resolve(order.generation, None, wishes, order.seed, context),
            context_tokens=context,
            max_dataset_rows=self._bench.settings.max_dataset_rows,
            max_cell_bytes=self._bench.max_cell_bytes,
            hardware=hardware(self._batch.gpus),
            engine_arguments=engine.arguments,
            batch_invariant=engine.batch_invariant,
            chat_template_sha256=chat_template_sha256(ready.model),
            check_template=self._batch.engine.check_template,
            earlier=earlier,
            started_over=started_over,
        )

    def _ended(self, order: Order, outcome: RunOutcome, folder: Path, engine_share: float) -> Ended:
        """What is reported of a run that came to its end."""
        if outcome.measurement is None or outcome.log is None:
            return Ended(outcome.outcome, outcome.detail)
        try:
            evidence = self._store(order, folder / outcome.log, self._bench.settings.store_patience_seconds)
        except ToldToStop:
            words = "nothing is kept: the run was done, and the evidence store away"
            return Ended(AttemptOutcome.HANDED_BACK, _TOLD + words)
        self._check_not_dropped(order.ref)
        measurement = outcome.measurement.model_copy(update={"engine_share": engine_share})
        return Ended(outcome.outcome, outcome.detail, measurement, evidence)

    def _store(self, order: Order, log: Path, patience_seconds: float) -> Evidence:
        """Store a log, and where the store is away say so with every heartbeat, and wait for it.

        Raises:
            SpecError: it is larger than anybody would read; it would be so another time.
            ToldToStop: this worker was told to stop, and the store did not come back in time.
        """
        if (size := log.stat().st_size) > MAX_LOG_BYTES:
            raise SpecError(
                f"the log of the run has {size} bytes, and this farm reads {MAX_LOG_BYTES} at most: the task has more"
                " samples, or longer answers, than it can take in. Its operator can set a sample_limit for it."
            )
        progress = Progress(ref=order.ref, stage=Stage.STORING)
        self._messenger.progress(progress)

        def wait(why: str) -> None:
            self._check_not_dropped(order.ref)
            if self._handing_back.seconds_left < _REPORT_SECONDS:
                self._handing_back.check()
            words = f"{AWAITS_STORE}: {why}"
            self._messenger.progress(progress.model_copy(update={"log_tail": words}))

        url = self._bench.settings.evidence_url
        return patiently(lambda: store(log, url), patience_seconds, wait)

    def _earlier(self, order: Order, folder: Path) -> tuple[EarlierLog | None, str]:
        """The partial log to go on from; where there is none although one was named, why not."""
        if order.resume is None:
            return None, ""
        file = folder / "earlier.eval"
        resume, url = order.resume, self._bench.settings.evidence_url
        patience = min(_EARLIER_PATIENCE_SECONDS, self._bench.settings.store_patience_seconds)
        try:
            patiently(lambda: fetch(resume, url, file), patience, lambda _: self._check_wanted(order.ref))
        except (EvidenceError, EvidenceAway) as error:
            return None, f"{STARTED_OVER}{error}"
        return EarlierLog(file=str(file), sha256=resume.sha256), ""

    def _kept(self, order: Order, outcome: RunOutcome, folder: Path) -> Ended:
        """What is left of a run that was told to stop, or whose judge is away."""
        kind, patience = outcome.outcome, self._handing_back.seconds_left - _REPORT_SECONDS
        words = f"{_TOLD if kind is AttemptOutcome.HANDED_BACK else ''}{outcome.detail}"
        if outcome.log is None:
            return Ended(kind, words)
        if kind is AttemptOutcome.JUDGE_AWAY:
            patience = min(patience, _KEEP_PATIENCE_SECONDS)
        try:
            log = self._store(order, folder / outcome.log, patience)
        except Exception as error:  # noqa: BLE001 - whatever keeps the log from being stored, the run may be done again
            _log.warning("a partial log was not stored", exc_info=error)
            told = _TOLD if kind is AttemptOutcome.HANDED_BACK else f"{outcome.detail}; but "
            return Ended(kind, f"{told}nothing is kept: the log was not stored: {error}")
        partial_log = PartialLog(sha256=log.sha256, size_bytes=log.size_bytes, answers=outcome.kept_answers)
        return Ended(kind, words, partial=partial_log)

    def _new_run_process(self) -> RunProcess:
        judges = judge_environment(judge for order in self._batch.orders for judge in order.judges.values())
        bench = self._bench
        return RunProcess(bench.run_folder(), bench.runs, bench.engines.api_key, judges)

    def _starting(self, ref: AttemptRef) -> None:
        self._check_any_wanted()
        self._messenger.progress(Progress(ref=ref, stage=Stage.STARTING_ENGINE, log_tail=self._log_tail()))

    def _running(self, ref: AttemptRef, process: RunProcess, engine: Engine, progress: RunProgress | None) -> None:
        self._check_wanted(ref)
        self._flow.told(process.folder, progress, engine.base_url)
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
        if self._bench.dropped.has(self._batch.batch_id, ref):
            raise Dropped(f"{ref.reproduction_id}, attempt {ref.attempt}")

    def _check_any_wanted(self) -> None:
        """A model or an engine that comes for one order serves the others too: given up only if none is wanted."""
        if all(self._bench.dropped.has(self._batch.batch_id, ref) for ref in list(self._left)):
            raise Dropped("every attempt that is left in the batch")
        self._handing_back.check()
