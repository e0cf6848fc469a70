"""The hook that bounds answers, for clients of httpx2: specs/hub/bounded_answers.py says by what."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2

from specs.hub.bounded_answers import bounded, refuse_packed


def bound_answer(answer: httpx2.Response) -> None:
    """A response hook.

    Raises:
        HubAway: the answer is packed.
    """
    refuse_packed(answer.headers)
    if isinstance(answer.stream, httpx2.SyncByteStream):
        answer.stream = _Bounded(answer.stream)


class _Bounded(httpx2.SyncByteStream):
    """A body that ends in an error where it goes on for too long."""

    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        return bounded(self._inner)

    def close(self) -> None:
        self._inner.close()
