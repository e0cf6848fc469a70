"""Turns what a worker says of its attempts into spans: one for each stage, from its first word to that of the next."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from specs.messages import AttemptRef, Progress, Stage
from specs.processes.spans import PastSpan, Place, Spans, Value

NAMES = {
    Stage.FETCHING: "fetch",
    Stage.STARTING_ENGINE: "start_engine",
    Stage.RUNNING: "run",
    Stage.STORING: "store",
}
"""Of the stages in which something is done for an attempt; the control plane tells of its waiting."""


class StageSpans:
    """The stages of one batch's attempts."""

    def __init__(self, spans: Spans, worker: str) -> None:
        self._spans = spans
        self._worker = worker
        self._current: dict[AttemptRef, tuple[Stage, datetime]] = {}
        # A batch that is handed back in a hurry is ended from a thread of its own.
        self._turn = threading.Lock()

    def progress(self, progress: Progress) -> None:
        """An attempt is at this stage."""
        with self._turn:
            before = self._current.get(progress.ref)
            if before is not None and before[0] is progress.stage:
                return
            at = datetime.now(UTC)
            self._current[progress.ref] = (progress.stage, at)
        self._tell(progress.ref, before, at)

    def end(self, ref: AttemptRef) -> None:
        """An attempt is over."""
        with self._turn:
            before = self._current.pop(ref, None)
        self._tell(ref, before, datetime.now(UTC))

    def flush(self) -> None:
        """Send what was told: the worker may be gone soon."""
        self._spans.flush()

    def _tell(self, ref: AttemptRef, before: tuple[Stage, datetime] | None, end: datetime) -> None:
        if before is None or before[0] not in NAMES:
            return
        run, number = ref.reproduction_id, ref.attempt
        place = Place(run, NAMES[before[0]], number)
        facts: dict[str, Value | None] = {"attempt": number, "worker": self._worker}
        self._spans.tell(PastSpan(place, Place.of_attempt(run, number), before[1], end, facts))
