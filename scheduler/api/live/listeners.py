"""Subscribers of the event stream, and the queue of what each is still to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.api.cursors import Cursor

QUEUED = 1000
"""Messages that wait for one listener; who is further behind is let go, and resumes where it was."""

SHARE_OF_ONE = 4
"""One caller, or one address, has this part of the places: a quarter. An office behind one address is several."""


@dataclass(frozen=True)
class Message:
    """One message of the stream."""

    event: str
    data: str
    """JSON."""

    subjects: frozenset[tuple[str, str]]
    """Kind and id of what it is about."""

    cursor: Cursor | None = None
    """Behind it; None where it is not part of the record, and is not told again."""


@dataclass(frozen=True)
class Wanted:
    """What a listener wants to hear of; None is everything."""

    subject: str | None = None
    subject_id: str | None = None

    def fits(self, message: Message) -> bool:
        """Whether a message is about it."""
        return any(
            self.subject in (None, subject) and self.subject_id in (None, subject_id)
            for subject, subject_id in message.subjects
        )


@dataclass(eq=False)
class Listener:
    """One who follows along."""

    wanted: Wanted
    who: str
    """As they are counted: a caller who is known, or an address."""

    start: Cursor
    """Hears what comes behind it; unknown, and 0, until the record is looked at for the first time."""

    queue: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(QUEUED))
    too_slow: bool = False


class Live:
    """All listeners of this process. Belongs to one event loop, and is used in it alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._listeners: set[Listener] = set()
        self._begun = asyncio.Event()
        self.last = Cursor(0)

    def full_for(self, who: str) -> str | None:
        """Why they cannot join: as many follow as this process takes, or as it takes of one of them."""
        if len(self._listeners) >= self._most:
            return f"{self._most} follow the events here, which is all that this process takes"
        share = max(1, self._most // SHARE_OF_ONE)
        # At most as many as `most` are looked at, and only when somebody joins.
        if sum(listener.who == who for listener in self._listeners) >= share:
            return f"{share} of you follow the events here, which is all that one caller, or address, may"
        return None

    def join(self, wanted: Wanted, who: str) -> Listener:
        """Hear what comes from now on."""
        listener = Listener(wanted, who, self.last)
        self._listeners.add(listener)
        return listener

    async def begun(self) -> None:
        """Wait until it is known up to where the record is told."""
        await self._begun.wait()

    def leave(self, listener: Listener) -> None:
        """Hear no more."""
        self._listeners.discard(listener)

    def tell(self, messages: Iterable[Message], last: Cursor) -> None:
        """Tell everybody; the record is told up to `last` then."""
        self.last = last
        if not self._begun.is_set():
            for listener in self._listeners:
                listener.start = self.last
            self._begun.set()
        for message in messages:
            for listener in tuple(self._listeners):
                if listener.wanted.fits(message):
                    self._hand(listener, message)

    def _hand(self, listener: Listener, message: Message) -> None:
        try:
            listener.queue.put_nowait(message)
        except asyncio.QueueFull:
            listener.too_slow = True
            self._listeners.discard(listener)
