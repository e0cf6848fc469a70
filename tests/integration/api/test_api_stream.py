"""The record as Server-Sent Events, over real connections."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from scheduler.api import stream
from scheduler.database.tables import Attempt, Event, now
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases

SOON = 30.0
STREAM = {"accept": "text/event-stream"}


@dataclass
class Heard:
    """What one connection said so far."""

    messages: list[dict[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> list[Any]:
        return [json.loads(message["data"]) for message in tuple(self.messages) if message.get("event") == kind]

    @property
    def ids(self) -> list[int]:
        return [int(message["id"]) for message in tuple(self.messages) if "id" in message]


@contextmanager
def listening(api: RunningApi, last: int | None = None, **asked: str) -> Iterator[Heard]:
    """Follow until the block ends, then cut the connection."""
    heard = Heard()
    headers = STREAM if last is None else {**STREAM, "last-event-id": str(last)}
    with httpx.Client(timeout=httpx.Timeout(10, read=None)) as client:
        request = client.build_request("GET", api.url + "/v1/events", params=asked, headers=headers)
        answer = client.send(request, stream=True)
        assert answer.status_code == 200, answer.read()
        started = threading.Event()
        reader = threading.Thread(target=_read, args=(answer, heard, started), daemon=True)
        reader.start()
        assert started.wait(SOON)
        try:
            yield heard
        finally:
            # From under the reader, as a network that fails.
            answer.stream.close() if not reader.is_alive() else answer.extensions["network_stream"].get_extra_info(
                "socket"
            ).shutdown(2)
            reader.join(SOON)
            answer.close()


def _read(answer: httpx.Response, heard: Heard, started: threading.Event) -> None:
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
    except httpx.HTTPError:
        pass


def until(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_nothing_is_missed_or_told_twice_over_connections_that_break(api: RunningApi) -> None:
    api.rows.event("claim", "a" * 32, "submitted")
    written = threading.Event()

    def write() -> None:
        for number in range(150):
            api.rows.event("claim", "b" * 32, "submitted", f"number {number}")
        written.set()

    writer = threading.Thread(target=write)
    with listening(api, last=0) as heard:
        writer.start()
        until(lambda: len(heard.ids) >= 20)
    told = list(heard.ids)
    while not written.is_set():
        with listening(api, last=told[-1]) as heard:
            until(lambda: len(heard.ids) >= 10 or written.is_set())
        told += heard.ids
    with listening(api, last=told[-1]) as heard:
        until(lambda: len(told) + len(heard.ids) >= 151)
    told += heard.ids
    with api.rows.database.reading() as session:
        assert told == [event.event_id for event in session.query(Event).order_by(Event.event_id)]


def test_without_an_id_it_begins_with_what_comes(api: RunningApi) -> None:
    api.rows.event("claim", "a" * 32, "submitted")
    with listening(api, last=0) as heard:
        until(lambda: heard.ids)
    with listening(api) as heard:
        api.rows.event("claim", "b" * 32, "submitted", "new")
        until(lambda: heard.ids)
        assert [event["why"] for event in heard.of("event")] == ["new"]


def test_a_listener_hears_only_what_it_asked_for(api: RunningApi) -> None:
    with listening(api, last=0, subject="claim", subject_id="b" * 32) as heard:
        api.rows.event("claim", "a" * 32, "submitted")
        api.rows.event("reproduction", "b" * 32, "queued")
        api.rows.event("claim", "b" * 32, "submitted", "mine")
        until(lambda: heard.ids)
        assert [event["why"] for event in heard.of("event")] == ["mine"]


def test_progress_of_a_run_is_told_to_who_follows_its_claim(api: RunningApi) -> None:
    claim_id = api.rows.running()
    run = api.rows.run_of(claim_id)
    with listening(api, subject="claim", subject_id=claim_id) as heard:
        with api.rows.database.transaction() as session:
            attempt = session.get_one(Attempt, (run, 2))
            attempt.samples_done, attempt.score, attempt.alive_at = 150, 0.5, now()
        until(lambda: any(view["samples_done"] == 150 for view in heard.of("progress")))
        last = heard.of("progress")[-1]
        assert (last["reproduction_id"], last["claims"], last["score"]) == (run, [claim_id], 0.5)
        assert last["score_interval"]["low"] < 0.5 < last["score_interval"]["high"]
        assert heard.ids == []


def test_who_missed_too_much_is_told_to_begin_anew(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        api.rows.event("claim", "a" * 32, "submitted", str(number))
    with listening(api, last=0) as heard:
        until(lambda: heard.ids[-1:] == [7])
    monkeypatch.setattr(stream, "TOLD_AGAIN", 5)
    with listening(api, last=1) as heard:
        until(lambda: heard.of("reset"))
        assert heard.of("reset") == [{"last_event_id": 7}]
        api.rows.event("claim", "a" * 32, "decided")
        until(lambda: heard.ids)
        assert heard.ids == [8]


def test_only_so_many_follow_at_once(tmp_path: Path, databases: Databases) -> None:
    with running_api(tmp_path, databases, api_event_clients=1) as api, listening(api):
        refused = httpx.get(api.url + "/v1/events", headers=STREAM, timeout=30)
        assert refused.status_code == 503
        assert api.get("/v1/events").status_code == 200
