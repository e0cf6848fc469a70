"""What is asked of the Hub through huggingface_hub, held to a time, a size and a number of requests.

The library (2.4) reads an answer as a whole, and follows a list from part to part for as long as there is a next one.
These are for hooks of its client. Answers are asked for as they are, not packed: what a megabyte unpacks to is bounded
by nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import httpx2

from specs.errors import HubAway

MAX_ANSWER_BYTES = 64 * 2**20
MAX_ANSWER_SECONDS = 300.0
"""From an answer's headers to its end."""

MAX_REQUESTS = 1000
MAX_QUESTION_SECONDS = 1800.0
"""Of one question, which may be as many requests as a list has parts."""

OTHER_SHAPES = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What the library stumbles over in JSON of other shapes than the Hub's, and in what is no JSON."""


@dataclass
class _Question:
    requests: int = 0
    late: float = field(default_factory=lambda: time.monotonic() + MAX_QUESTION_SECONDS)


_question: ContextVar[_Question | None] = ContextVar("question", default=None)


@contextmanager
def one_question() -> Iterator[None]:
    """What is asked within the block is one question."""
    before = _question.set(_Question())
    try:
        yield
    finally:
        _question.reset(before)


def bound_request(request: httpx2.Request) -> None:
    """A request hook.

    Raises:
        HubAway: the question has no end.
    """
    request.headers["accept-encoding"] = "identity"
    question = _question.get()
    if question is not None:
        question.requests += 1
        if question.requests > MAX_REQUESTS or time.monotonic() > question.late:
            raise HubAway(f"the Hub's answer does not end: {question.requests} requests")


def refuse_packed(headers: Mapping[str, str]) -> None:
    """Look at an answer's headers.

    Raises:
        HubAway: it is packed, which it was asked not to be.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise HubAway("the Hub's answer is packed, which it was asked not to be")


def bound_answer(answer: httpx2.Response) -> None:
    """A response hook.

    Raises:
        HubAway: the answer is packed.
    """
    refuse_packed(answer.headers)
    if isinstance(answer.stream, httpx2.SyncByteStream):
        answer.stream = _Bounded(answer.stream)


class _Bounded(httpx2.SyncByteStream):
    """A body that ends in HubAway where it goes on for too long."""

    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        size, late = 0, time.monotonic() + MAX_ANSWER_SECONDS
        for part in self._inner:
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise HubAway(f"the Hub's answer has more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > late:
                raise HubAway(f"the Hub's answer did not end within {MAX_ANSWER_SECONDS:.0f} s")
            yield part

    def close(self) -> None:
        self._inner.close()
