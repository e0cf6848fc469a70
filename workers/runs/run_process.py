"""The process of one run, as its worker sees it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from specs.messages import AttemptOutcome, Order
from specs.processes.atomic_write import write_atomically
from workers.disk_faults import is_full
from workers.engines.engine import Engine
from workers.engines.engine_faults import log_tail
from workers.engines.engine_metrics import engine_figures
from workers.errors import ToldToStop
from workers.runs.forked_run import RunServer
from workers.runs.interrupting import STOP_FILE
from workers.runs.run_request import (
    ENGINE_KEY_ENV,
    OUTCOME_FILE,
    PROGRESS_FILE,
    REQUEST_FILE,
    WAITS_FILE,
    RunOutcome,
    RunProgress,
    RunRequest,
    RunWaits,
)

_LOOK_SECONDS = 0.5
_BEGIN_SECONDS = 600.0
"""Importing lighteval and reading the dataset may take so long, on top of what a stall is."""

_LOOKS = 10
"""At the engine of a run that has no other news, in the time that makes a stall."""


_CLOSE_SECONDS = 120.0
"""For a run whose judge is away, to close its log."""


class RunProcess:
    """Started before its order is known: where the server of runs is young, it still imports lighteval."""

    def __init__(self, folder: Path, runs: RunServer, engine_key: str, judges: Mapping[str, str]) -> None:
        """Start it, with `folder` to itself. It sees neither the worker's settings nor its tokens.

        `judges` is what of the worker's environment it needs to ask them; empty for none.
        """
        self.folder = folder
        self._log = folder / "run.log"
        self._runs = runs
        self._process = runs.start(
            [str(folder)],
            {
                ENGINE_KEY_ENV: engine_key,
                **judges,
                # Inspect's copy of the dataset. It is not written whole or not at all: shared, the half that a run left
                # when it was killed would fail every later one.
                "XDG_CACHE_HOME": str(folder / "xdg"),
                "XDG_DATA_HOME": str(folder / "data"),
                # A file is named in 255 bytes at most, and the ids of dataset and task may have more.
                "INSPECT_EVAL_LOG_FILE_PATTERN": "{id}",
                # Inspect's cache of answers, should a spec get round the switch that turns it off.
                "INSPECT_CACHE_DIR": str(folder / "answers"),
            },
            folder,
            self._log,
        )

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._process.stop()

    def run(
        self, request: RunRequest, engine: Engine, began: float, on_progress: Callable[[RunProgress | None], None]
    ) -> RunOutcome:
        """Give it its order and watch it to its end.

        `began` is when the attempt began, by `time.monotonic`; its deadline counts from there. `on_progress` is called
        twice a second, with None before the first news; what it raises ends the run. Upon `ToldToStop` the run may
        close its log first; that one does not come out of here.
        """
        write_atomically(self.folder / REQUEST_FILE, request.model_dump_json())
        try:
            return self._watch(request, engine, began, on_progress)
        except ToldToStop as order:
            return self._end_gently(engine, order.run_until)
        finally:
            self.stop()

    def _end_gently(self, engine: Engine, until: float) -> RunOutcome:
        """Have the run close its log with the answers that it has, which takes Inspect a moment."""
        if (self.folder / PROGRESS_FILE).exists():
            (self.folder / STOP_FILE).touch()
            if self._process.wait(until - time.monotonic()) is not None:
                outcome = self._outcome(engine)
                if outcome.outcome in (AttemptOutcome.COMPLETED, AttemptOutcome.HANDED_BACK):
                    return outcome
                return RunOutcome(outcome=AttemptOutcome.HANDED_BACK, detail=f"nothing is kept: {outcome.detail}")
            words = "nothing is kept: the run did not close its log in time"
        else:
            words = "no sample was begun"
        return RunOutcome(outcome=AttemptOutcome.HANDED_BACK, detail=words)

    def _judge_is_away(self, engine: Engine, order: Order, so_far: str) -> RunOutcome:
        """End a run that waits for its judge alone: the engine did what it was asked, and its answers may be kept."""
        ended = self._end_gently(engine, time.monotonic() + _CLOSE_SECONDS)
        if ended.outcome is AttemptOutcome.COMPLETED:
            return ended
        words = f"the judge ({', '.join(sorted(order.judges))}) does not answer, {so_far}; {ended.detail}"
        return ended.model_copy(update={"outcome": AttemptOutcome.JUDGE_AWAY, "detail": words})

    def _watch(
        self, request: RunRequest, engine: Engine, began: float, on_progress: Callable[[RunProgress | None], None]
    ) -> RunOutcome:
        order = request.order
        read, progress, last_news = 0, None, time.monotonic()
        generating = _Generating(engine, order.stall_seconds / _LOOKS)
        while self._process.poll() is None:
            if (found := self._progress(read)) is not None:
                read, progress = found
                last_news = time.monotonic()
            elif self._waits().engine and generating.looked(since=last_news):
                # An answer may take longer than a stall does; it is the deadline that bounds it.
                last_news = time.monotonic()
            on_progress(progress)
            if not engine.alive():
                return _engine_died(engine)
            patience = order.stall_seconds + (_BEGIN_SECONDS if progress is None else 0)
            if time.monotonic() - last_news > patience:
                if self._process.pid is None:
                    # No run of this worker would begin, and it is not the engine that hangs.
                    self._runs.stop()
                    words = f"the process that runs are forked from took none for {patience:.0f} s, and was ended"
                    return RunOutcome(outcome=AttemptOutcome.WORKER_FAILED, detail=f"{words}\n{self._runs.log_tail()}")
                waits = self._waits()
                if waits.judges and not waits.engine:
                    return self._judge_is_away(engine, order, f"for {patience:.0f} s, {_so_far(progress)}")
                words = f"no answer for {patience:.0f} s, {_so_far(progress)}; ended"
                return RunOutcome(outcome=AttemptOutcome.STALLED, detail=f"{words}\n{engine.log_tail()}")
            if time.monotonic() - began > order.deadline_seconds:
                words = f"not done after {order.deadline_seconds:.0f} s, {_so_far(progress)}; ended"
                return RunOutcome(outcome=AttemptOutcome.TIMED_OUT, detail=words)
            self._process.wait(_LOOK_SECONDS)
        return self._outcome(engine)

    def _progress(self, read: int) -> tuple[int, RunProgress] | None:
        """The last whole line, if there are new ones after so many bytes, and up to where that is."""
        try:
            with (self.folder / PROGRESS_FILE).open("rb") as lines:
                # A run of a million answers has a hundred MB of them.
                lines.seek(read)
                whole = lines.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return None
        last = whole.rpartition(b"\n")[2]
        return (read + len(whole) + 1, RunProgress.model_validate_json(last)) if whole else None

    def _waits(self) -> RunWaits:
        try:
            return RunWaits.model_validate_json((self.folder / WAITS_FILE).read_bytes())
        except FileNotFoundError:
            return RunWaits(engine=False, judges=False)

    def _outcome(self, engine: Engine) -> RunOutcome:
        try:
            outcome = RunOutcome.model_validate_json((self.folder / OUTCOME_FILE).read_bytes())
        except (OSError, ValidationError):
            if not engine.is_well():
                return _engine_died(engine)
            if is_full(self.folder):
                words = "the disk of the worker's state folder is full: the run could not write what became of it"
                return RunOutcome(outcome=AttemptOutcome.DISK_FULL, detail=words)
            status = self._process.poll()
            words = f"the run ended with exit status {status} and without an outcome"
            if status == 128 + signal.SIGKILL:
                words += ": it was killed, as by a machine that runs out of memory"
            said = log_tail(self._log) or self._runs.log_tail()
            return RunOutcome(outcome=AttemptOutcome.WORKER_FAILED, detail=f"{words}\n{said}")
        measured = outcome.measurement
        unharmed = measured is not None and not measured.failed
        if not unharmed and outcome.outcome is not AttemptOutcome.SPEC_FAILED and not engine.is_well():
            return _engine_died(engine)
        return outcome


class _Generating:
    """Looks now and then whether an engine generates, by its own count of tokens, which is over all of its runs."""

    def __init__(self, engine: Engine, every_seconds: float) -> None:
        self._engine = engine
        self._every_seconds = every_seconds
        self._looked_at = 0.0
        self._generated: float | None = None

    def looked(self, since: float) -> bool:
        """Whether a look was due, as the last one and the time `since` are long enough ago, and found that it does.

        An engine that is away, or does not say, does not.
        """
        now = time.monotonic()
        if now - max(since, self._looked_at) < self._every_seconds:
            return False
        self._looked_at = now
        figures = engine_figures(self._engine.base_url)
        if figures is None or figures.generated is None:
            return False
        before, self._generated = self._generated, figures.generated
        return before is not None and figures.generated > before


def _so_far(progress: RunProgress | None) -> str:
    return "before the first sample" if progress is None else f"{progress.done} of {progress.total} samples done"


def _engine_died(engine: Engine) -> RunOutcome:
    memory = engine.ran_out_of_memory()
    outcome = AttemptOutcome.OUT_OF_MEMORY if memory else AttemptOutcome.ENGINE_FAILED
    words = "the engine ran out of memory and died during the run" if memory else "the engine died during the run"
    return RunOutcome(outcome=outcome, detail=f"{words}\n{engine.log_tail()}")
