"""A watchdog for scorers and solvers of Inspect's that compute without end: it ends the run with words on whose fault.

A regular expression can take longer than the universe on thirty letters, and `re` holds the interpreter's lock while it
tries: no other thread of this process gets a turn. It does look for signals (CPython's `_sre`, every 4096 steps). So a
timer of the CPU time that the process uses interrupts it, and the handler looks where the main thread is.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import inspect_ai
from inspect_ai.scorer import AnswerPattern

from specs.messages import AttemptOutcome
from specs.text import clean

_LOOK_CPU_SECONDS = 0.5
_PACKAGE = Path(inspect_ai.__file__).parent
# Solvers read answers too: multiple_choice looks for the chosen letters.
_FOLDERS = tuple(f"{_PACKAGE / each}/" for each in ("scorer", "solver"))
# Of the scorers whose regular expression is the spec's: `pattern`, and `grade_pattern` of those that ask a judge.
_BY_THE_SPEC = frozenset({"pattern", "model"})


class Watchdog:
    """Counts how long the main thread has been at the same step of the same call of a scorer or solver."""

    def __init__(self, cpu_seconds: float, on_stuck: Callable[[AttemptOutcome, str], None]) -> None:
        """After `cpu_seconds` of CPU time at one step, `on_stuck` gets whose failure it is, in words too."""
        self._cpu_seconds = cpu_seconds
        self._on_stuck = on_stuck
        # Held, so that no other call can have the same frame.
        self._at: tuple[FrameType, int] | None = None
        self._since = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what the main thread, which must be the caller, does meanwhile."""
        before = signal.signal(signal.SIGVTALRM, self._look)
        signal.setitimer(signal.ITIMER_VIRTUAL, _LOOK_CPU_SECONDS, _LOOK_CPU_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
            self._at = None

    def _look(self, _: int, frame: FrameType | None) -> None:
        found = _step_of_inspect(frame)
        if found is None or self._at is None or found[0] is not self._at[0] or found[1] != self._at[1]:
            self._at, self._since = found, time.thread_time()
        elif time.thread_time() - self._since >= self._cpu_seconds:
            self._on_stuck(*self._failure(found[0]))

    def _failure(self, frame: FrameType) -> tuple[AttemptOutcome, str]:
        module = Path(frame.f_code.co_filename)
        kind, name = module.parent.name, module.stem.lstrip("_")
        # `answer` is `pattern` with an expression of Inspect's own, and what runs is that one's code.
        if isinstance(frame.f_locals.get("pattern"), AnswerPattern):
            name = "answer"
        stuck = f"the {kind} {name} did not end on one answer within {self._cpu_seconds:.0f} s of computing"
        if name in _BY_THE_SPEC:
            return AttemptOutcome.SPEC_FAILED, clean(
                f"{stuck}: most likely a regular expression that tries too many ways to match; write it without "
                "repetitions inside repetitions, as in (a+)+",
                600,
            )
        return AttemptOutcome.MODEL_FAILED, clean(
            f"{stuck}: this model gave an answer that keeps Inspect's own way to read answers busy, as thousands of "
            "spaces after ANSWER: do",
            600,
        )


def _step_of_inspect(frame: FrameType | None) -> tuple[FrameType, int] | None:
    """The innermost call of a scorer or solver that is under way, and its instruction."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_FOLDERS):
            return frame, frame.f_lasti
        frame = frame.f_back
    return None
