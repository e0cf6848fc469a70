"""A cache of counts over whole tables, taken no oftener than they are worth."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from scheduler.api.live.follower import Mark
from scheduler.database.tables import now

CHEAP_SECONDS = 0.05
"""What takes less is counted whenever something changed."""

SHARE = 1 / 20
"""Of the time, at most, goes into one count: after one that took 0.3 s, the next is due 6 s later."""

KEPT = 200
"""Counts, of as many benchmarks and models say; the least recently asked for goes first."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Count(Generic[Value]):
    """What was counted."""

    value: Value
    at: datetime
    current: bool
    """False where something may have changed since."""

    due: float
    """By the monotonic clock: when it is counted again, if something changed until then and somebody asks."""


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Any = None
    at: datetime | None = None
    mark: Mark | None = None
    next_due: float = 0.0


class CountCache:
    """Counts by what they are of; safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: OrderedDict[tuple[str, ...], _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...], mark: Mark | None, count: Callable[[], Value]) -> Count[Value]:
        """What `count` found last, or finds now, for the database as of `mark`."""
        slot = self._slot(key)
        with slot.lock:
            known = slot.at is not None
            same = known and mark is not None and (slot.mark == mark)
            if not same and (not known or self._clock() >= slot.next_due):
                started = self._clock()
                slot.value, slot.at, slot.mark = count(), now(), mark
                took = self._clock() - started
                slot.next_due = self._clock() + (took / SHARE if took > CHEAP_SECONDS else 0.0)
                same = True
            if slot.at is None:
                raise RuntimeError("counted, and yet not")
            return Count(cast("Value", slot.value), slot.at, same, slot.next_due)

    def _slot(self, key: tuple[str, ...]) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > KEPT:
                self._slots.popitem(last=False)
            return slot
