"""One who follows a live API's record over a real connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.support.api import RunningApi
from tests.support.waiting import PATIENCE_SECONDS

STREAM = {"accept": "text/event-stream"}


@dataclass
class Heard:
    """What one connection said so far."""

    messages: list[dict[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    """The connection said its last."""

    @property
    def last_id(self) -> str:
        """What a browser would send as `Last-Event-ID`."""
        return next(message["id"] for message in reversed(self.messages) if "id" in message)

    def of(self, kind: str) -> list[Any]:  # whatever the messages hold
        """What messages of a kind said."""
        return [json.loads(message["data"]) for message in tuple(self.messages) if message.get("event") == kind]

    @property
    def ids(self) -> list[int]:
        """Of the events, in the order in which they came."""
        return [event["id"] for event in self.of("event")]


@contextmanager
def listening(
    api: RunningApi, last: int | str | None = None, shown: Mapping[str, str] | None = None, **asked: str
) -> Iterator[Heard]:
    """Follow until the block ends, then cut the connection; `shown` says who follows."""
    heard = Heard()
    headers = {**STREAM, **(shown or {}), **({} if last is None else {"last-event-id": str(last)})}
    with httpx2.Client(timeout=httpx2.Timeout(PATIENCE_SECONDS, read=None)) as client:
        request = client.build_request("GET", api.url + "/v1/events", params=asked, headers=headers)
        answer = client.send(request, stream=True)
        assert answer.status_code == 200, answer.read()
        started = threading.Event()
        reader = threading.Thread(target=_read, args=(answer, heard, started), daemon=True)
        reader.start()
        assert started.wait(PATIENCE_SECONDS)
        try:
            yield heard
        finally:
            # From under the reader, as a network that fails.
            with contextlib.suppress(OSError):
                answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            reader.join(PATIENCE_SECONDS)
            answer.close()


def _read(answer: httpx2.Response, heard: Heard, started: threading.Event) -> None:
    message: dict[str, str] = {}
    try:
        for line in answer.iter_lines():
            started.set()
            if line:
                name, _, value = line.partition(": ")
                message[name] = value
            elif message:
                heard.messages.append(message)
                message = {}
    except httpx2.HTTPError:
        pass
    finally:
        heard.ended.set()
