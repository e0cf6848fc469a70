"""The answers that are remembered, and for how long each of them holds."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from scheduler.api.live.follower import Mark

LOOKED_AT_AGAIN_SECONDS = 5.0
"""After so long an answer is worked out again if anything at all was written meanwhile."""

MAX_KEY_BYTES = 2000
"""Of an address whose answer is remembered. A caller can make one up of 60 KB for each answer."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Said:
    """What was answered."""

    status: int
    headers: Headers
    body: bytes
    etag: bytes | None
    """None where it is an error."""


@dataclass(frozen=True)
class Answer:
    """What was answered, and the mark from before it was worked out."""

    mark: Mark
    at: float
    live: bool
    said: Said

    until: float = math.inf
    """When something in it is counted again, or time alone makes it another: the mark may be the same all the while."""

    @property
    def size(self) -> int:
        """About how many bytes it takes, without its address."""
        headers = sum(len(name) + len(value) for name, value in self.said.headers)
        return len(self.said.body) + headers + 1000

    def holds(self, mark: Mark | None, at: float) -> bool:
        """Whether it is still what would be answered."""
        if at >= self.until:
            return False
        if mark is None or self.mark == mark:
            return mark is not None
        if self.mark.events != mark.events or (self.live and self.mark.progress != mark.progress):
            return False
        return at - self.at < LOOKED_AT_AGAIN_SECONDS


class AnswerMemory:
    """Answers by address, those asked for last, as many as there is room for."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._size = 0

    def known(self, key: bytes, mark: Mark | None) -> Said | None:
        """What would be answered now, at the follower's mark, if it is remembered."""
        known = self._answers.get(key)
        if known is None or not known.holds(mark, time.monotonic()):
            return None
        self._answers.move_to_end(key)
        return known.said

    def put(self, key: bytes, answer: Answer) -> None:
        """Remember an answer in the place of an earlier one; what was asked for longest ago makes room."""
        if len(key) > MAX_KEY_BYTES:
            return
        before = self._answers.pop(key, None)
        self._size -= len(key) + before.size if before else 0
        self._answers[key] = answer
        self._size += len(key) + answer.size
        while self._size > self._max_bytes:
            oldest, its_answer = self._answers.popitem(last=False)
            self._size -= len(oldest) + its_answer.size
