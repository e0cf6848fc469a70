"""The record as Server-Sent Events, over real connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from scheduler.access import tokens
from scheduler.api.cursors import Cursor
from scheduler.api.live import follower, stream
from scheduler.api.live.follower import Follower
from scheduler.api.live.listeners import Listener, Live, Message, Wanted
from scheduler.database.tables import Attempt, Event, now
from tests.support.api import RunningApi, running_api
from tests.support.callers import token
from tests.support.databases import Databases
from tests.support.following import STREAM, listening
from tests.support.waiting import PATIENCE_SECONDS, until


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


def test_who_comes_before_the_first_look_misses_nothing(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = threading.Event()
    join, run = Live.join, Follower._run

    def join_first(live: Live, wanted: Wanted, who: str) -> Listener:
        listener = join(live, wanted, who)
        joined.set()
        return listener

    def run_afterwards(self: Follower, tell: Callable[[list[Message], Cursor], None]) -> None:
        assert joined.wait(PATIENCE_SECONDS)
        run(self, tell)

    monkeypatch.setattr(Live, "join", join_first)
    monkeypatch.setattr(Follower, "_run", run_afterwards)
    with running_api(tmp_path, databases) as api:
        for why in ("seen before the process was new", "missed"):
            api.rows.event("claim", "a" * 32, "submitted", why)
        with listening(api, last=1) as heard:
            api.rows.event("claim", "a" * 32, "decided", "new")
            until(lambda: len(heard.ids) == 2)
            assert [event["why"] for event in heard.of("event")] == ["missed", "new"]


def test_a_look_that_fails_half_way_loses_nothing(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    look = follower._running
    failed = threading.Event()

    def fail_once(session: Session) -> dict[str, follower.Running]:
        if not failed.is_set():
            failed.set()
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        return look(session)

    with listening(api) as heard:
        monkeypatch.setattr(follower, "_running", fail_once)
        api.rows.event("claim", "a" * 32, "submitted", "found by the look that failed")
        until(failed.is_set)
        until(lambda: heard.ids)
        assert [event["why"] for event in heard.of("event")] == ["found by the look that failed"]


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


def test_progress_of_a_run_is_told_to_who_follows_one_of_its_claims(api: RunningApi) -> None:
    run = api.rows.run_of(api.rows.running())
    others = sorted(api.rows.claim(reproduction_id=run) for _ in range(30))
    # Too many to be shown, and the last of them asks.
    claim_id = others[-1]
    with listening(api, subject="claim", subject_id=claim_id) as heard:
        with api.rows.database.transaction() as session:
            attempt = session.get_one(Attempt, (run, 2))
            attempt.samples_done, attempt.score, attempt.alive_at = 150, 0.5, now()
        until(lambda: any(view["samples_done"] == 150 for view in heard.of("progress")))
        last = heard.of("progress")[-1]
        assert (last["reproduction_id"], len(last["claims"]), last["score"]) == (run, 20, 0.5)
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
        assert [reset["last_event_id"] for reset in heard.of("reset")] == [7]
        api.rows.event("claim", "a" * 32, "decided")
        until(lambda: heard.ids)
        assert heard.ids == [8]


def test_only_so_many_follow_at_once(tmp_path: Path, databases: Databases) -> None:
    with running_api(tmp_path, databases, api_event_clients=1) as api, listening(api):
        refused = httpx2.get(api.url + "/v1/events", headers=STREAM, timeout=60)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "1 follow the events here, which is all that this process takes" in refused.json()["detail"]
        assert api.get("/v1/events").status_code == 200


def test_nobody_takes_the_places_of_all_others(tmp_path: Path, databases: Databases) -> None:
    with running_api(tmp_path, databases, api_event_clients=4, proxies=1) as api, listening(api):
        mine = httpx2.get(api.url + "/v1/events", headers=STREAM, timeout=60)
        assert mine.status_code == 503
        assert "1 of you follow the events here" in mine.json()["detail"]
        elsewhere = {**STREAM, "x-forwarded-for": "192.0.2.7"}
        with httpx2.stream("GET", api.url + "/v1/events", headers=elsewhere, timeout=60) as another:
            assert another.status_code == 200


def test_who_had_more_than_there_is_starts_anew(api: RunningApi) -> None:
    api.rows.event("claim", "a" * 32, "submitted", "in the backup")
    with listening(api, last=0) as heard:
        until(lambda: heard.ids)
    with listening(api, last=5000) as heard:
        until(lambda: heard.of("reset"))
        api.rows.event("claim", "a" * 32, "decided", "after the restore")
        until(lambda: heard.of("event"))
    assert [reset["last_event_id"] for reset in heard.of("reset")] == [1]
    assert [event["why"] for event in heard.of("event")] == ["after the restore"]


def test_who_comes_back_late_to_a_restored_record_starts_anew(api: RunningApi, tmp_path: Path) -> None:
    for why in ("in the backup", "lost", "lost, too"):
        api.rows.event("claim", "a" * 32, "submitted", why)
    with listening(api, last=0) as heard:
        until(lambda: len(heard.ids) == 3)
    with api.rows.database.transaction() as session:
        session.execute(delete(Event).where(Event.why.startswith("lost")))
    for number in (2, 3, 4):
        api.rows.event("claim", "a" * 32, "submitted", "since the restore", event_id=number)
    # By now the record is longer than it was, and of two events with the numbers of lost ones nothing was told.
    with running_api(tmp_path / "restored", migrated=False, database_url=api.settings.database_url) as restored:
        with listening(restored, last=heard.last_id) as heard:
            until(lambda: heard.of("reset"))
        assert heard.of("reset") == [{"last_event_id": 4, "cursor": heard.last_id}]
        with listening(restored, last=heard.last_id) as heard:
            api.rows.event("claim", "a" * 32, "decided", "after", event_id=5)
            until(lambda: heard.of("event"))
        assert (heard.of("reset"), heard.ids) == ([], [5])


def test_a_connection_that_breaks_before_anything_happened_is_resumed_where_it_began(api: RunningApi) -> None:
    api.rows.event("claim", "a" * 32, "submitted", "before")
    with listening(api) as heard:
        until(lambda: heard.messages)
    api.rows.event("claim", "a" * 32, "decided", "while nobody listened")
    with listening(api, last=heard.last_id) as heard:
        until(lambda: "while nobody listened" in [event["why"] for event in heard.of("event")])


def test_one_that_is_told_to_begin_anew_is_told_so_once(api: RunningApi) -> None:
    api.rows.event("claim", "a" * 32, "submitted", "in the backup")
    with listening(api, last=5000) as heard:
        until(lambda: heard.of("reset"))
    with listening(api, last=heard.last_id) as heard:
        api.rows.event("claim", "a" * 32, "decided", "after the restore")
        until(lambda: heard.of("event"))
    assert heard.of("reset") == []


def test_who_may_read_no_more_is_told_no_more(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ASKED_AGAIN_SECONDS", 0.5)
    with running_api(tmp_path, databases, public_reading=False) as api:
        shown = token(api, "page")
        with listening(api, shown=shown) as heard:
            assert heard.ended.wait(PATIENCE_SECONDS)
        with listening(api, last=heard.last_id, shown=shown):
            pass
        tokens.revoke(api.rows.database, "page", "operator:olga")
        assert httpx2.get(api.url + "/v1/events", headers={**STREAM, **shown}, timeout=60).status_code == 401


def test_the_head_of_the_stream_comes_to_an_end(api: RunningApi) -> None:
    with httpx2.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as client:
        told = client.head("/v1/events", headers=STREAM)
        assert told.headers["content-type"].startswith("text/event-stream")
        # Over the same connection, which the stream would hold for ever.
        assert client.get("/v1/events", params={"limit": 1}).status_code == 200
