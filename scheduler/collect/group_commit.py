"""Group commit: what several threads have to commit at the same moment is done in one transaction, which costs less."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """A piece of work that one thread of this process does at a time, for all that wait for it by then.

    Nobody waits for others to come: whoever finds nobody at it begins with what is there.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]]) -> None:
        """`work` takes several items and returns a result for each; where it raises, nothing of it was done."""
        self._work = work
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting[T, R]] = []

    def __call__(self, item: T) -> R:
        """Have it done for an item, and whatever else waits; returns once it is, or raises what it raised for it."""
        mine: _Waiting[T, R] = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.is_done:
                with self._lock:
                    taken, self._waiting = self._waiting, []
                # What is done for all is about none of them: no line of the log has the fields of whoever came first.
                Context().run(self._do, taken)
        return mine.result()

    def _do(self, taken: Sequence[_Waiting[T, R]]) -> None:
        try:
            results = self._work([each.item for each in taken])
        except Exception as error:  # noqa: BLE001 - raised again, where it belongs
            if len(taken) == 1:
                taken[0].failure = error
            else:
                # One of them may fail all.
                for each in taken:
                    self._do([each])
        else:
            for each, result in zip(taken, results, strict=True):
                each.results.append(result)


@dataclass(eq=False)
class _Waiting(Generic[T, R]):
    item: T
    results: list[R] = field(default_factory=list)
    """Its own, once it is done."""

    failure: Exception | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.failure is not None

    def result(self) -> R:
        if self.failure is not None:
            raise self.failure
        return self.results[0]
