"""What a worker says while it works: heartbeats, and a report for each order. From a thread, so that nothing waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from specs.messages import LONGEST_HEARTBEAT_SECONDS, AttemptRef, AttemptsAlive, Progress, Report, RunBatch
from specs.processes.spans import Spans
from workers.batches.message_size import readable_heartbeat
from workers.batches.stage_spans import StageSpans

_FIRST_BACK_OFF_SECONDS = 1.0
_LONGEST_BACK_OFF_SECONDS = 30.0
_log = logging.getLogger(__name__)

Send = Callable[[AttemptsAlive | Report], None]
"""Hands one message to the broker; raises when the broker is away."""


class Messenger:
    """Speaks for one batch: `with Messenger(…) as messenger`. Leaving waits until every report is delivered.

    A broker that is away is tried again and again; reports keep their order and are never given up. Heartbeats are not
    kept: only the latest is worth sending.
    """

    def __init__(self, batch: RunBatch, worker: str, pool: str, send: Send, spans: Spans | None = None) -> None:
        self._batch = batch
        self._worker = worker
        self._pool = pool
        self._send = send
        self._stages = StageSpans(spans or Spans(None), worker)
        self._progress: dict[AttemptRef, Progress] = {}
        self._reports: deque[Report] = deque()
        self._news = threading.Condition()
        self._urgent = False
        self._closing = False
        self._thread = threading.Thread(target=self._speak, name="messenger", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join()
        self._stages.flush()

    def progress(self, progress: Progress) -> None:
        """How far an attempt is. A change of stage is sent at once, the rest with the next heartbeat."""
        self._stages.progress(progress)
        with self._news:
            before = self._progress.get(progress.ref)
            self._progress[progress.ref] = progress
            if before is None or before.stage is not progress.stage:
                self._urgent = True
                self._news.notify()

    def forget(self, ref: AttemptRef) -> None:
        """Say nothing more of an attempt."""
        self._stages.end(ref)
        with self._news:
            self._progress.pop(ref, None)

    def report(self, report: Report) -> None:
        """How an attempt ended; its last heartbeat has been."""
        self._stages.end(report.ref)
        with self._news:
            self._progress.pop(report.ref, None)
            self._reports.append(report)
            self._news.notify()

    def _speak(self) -> None:
        back_off = 0.0
        while True:
            with self._news:
                if back_off:
                    # Not `_news.wait`: news must not shorten the pause.
                    self._pause(back_off)
                elif not (self._reports or self._urgent or self._closing):
                    self._news.wait(self._batch.heartbeat_seconds)
                if self._closing and not self._reports:
                    return
                message = self._next()
            try:
                if message is not None:
                    self._send(message)
            except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the run goes on
                back_off = min(max(back_off * 2, _FIRST_BACK_OFF_SECONDS), _LONGEST_BACK_OFF_SECONDS)
                _log.warning("the broker is away (%s); trying again in %.0f s", error, back_off)
                continue
            back_off = 0.0
            if isinstance(message, Report):
                with self._news:
                    self._reports.popleft()

    def _pause(self, seconds: float) -> None:
        self._news.release()
        try:
            threading.Event().wait(seconds)
        finally:
            self._news.acquire()

    def _next(self) -> AttemptsAlive | Report | None:
        if self._reports:
            return self._reports[0]
        self._urgent = False
        if not self._progress:
            return None
        beat = AttemptsAlive(
            worker=self._worker,
            batch_id=self._batch.batch_id,
            pool=self._pool,
            progress=tuple(self._progress.values()),
            every_seconds=min(self._batch.heartbeat_seconds, LONGEST_HEARTBEAT_SECONDS),
        )
        return readable_heartbeat(beat)
