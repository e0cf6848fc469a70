"""Polls that find nothing new, and what a remembered answer may be."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import event, update
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.access import tokens
from scheduler.api import problems
from scheduler.api.live import answer_memory, count_cache, response_cache
from scheduler.api.live.follower import Follower
from scheduler.api.live.listeners import Live
from scheduler.database.tables import Attempt, Claim, now
from specs.api_v1.access import NewToken
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi, running_api
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.rows import comparison
from tests.support.waiting import PATIENCE_SECONDS, until

databases = mostly_sqlite


@pytest.fixture
def api(tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    with running_api(tmp_path, databases, api_memory_mib=8) as found:
        yield found


def conditional(api: RunningApi, path: str, etag: str, **headers: str) -> httpx2.Response:
    return httpx2.get(api.url + path, headers={"if-none-match": etag, **headers}, timeout=60)


@contextmanager
def counting(api: RunningApi) -> Iterator[list[str]]:
    """The statements that requests cause; the follower's own come on a connection that reads alone, and are few."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    engine = api.rows.database.engine.__class__
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", note)


def paths(api: RunningApi) -> list[str]:
    claim_id = api.rows.verified()
    api.rows.benchmark()
    badge = api.json(f"/v1/claims/{claim_id}/badge")["id"]
    run = api.rows.run_of(claim_id)
    return [
        "/v1/overview",
        "/v1/claims",
        f"/v1/claims/{claim_id}",
        f"/v1/claims/{claim_id}/events",
        f"/v1/claims/{claim_id}/badge",
        f"/v1/badges/{badge}",
        "/v1/reproductions?state=completed",
        f"/v1/reproductions/{run}",
        "/v1/verdicts",
        "/v1/events",
        "/v1/benchmarks",
        "/v1/benchmarks/acme/capitals",
        "/v1/models/tiny/model",
        "/v1/points",
        "/v1/noise",
        "/v1/revocations",
        "/.well-known/jwks.json",
    ]


def test_a_poll_that_finds_nothing_new_is_a_304_and_touches_no_row(api: RunningApi) -> None:
    asked = paths(api)

    def quiet() -> bool:
        first = {path: api.get(path) for path in asked}
        assert {path: answer.status_code for path, answer in first.items()} == dict.fromkeys(asked, 200)
        with counting(api) as said:
            second = {path: conditional(api, path, answer.headers["etag"]) for path, answer in first.items()}
            looks = ("BEGIN", "PRAGMA", "SELECT pg_current_snapshot")
            mine = [each for each in said if not each.startswith(looks)]
        assert all(answer.status_code == 304 and not answer.content for answer in second.values())
        assert all(answer.headers["etag"] == first[path].headers["etag"] for path, answer in second.items())
        return not mine

    # What was written just before may be seen by the follower in between.
    until(quiet)


@ON_BOTH
def test_a_change_is_answered_within_the_time_of_a_look(api: RunningApi) -> None:
    claim_id = api.rows.running()
    path = f"/v1/claims/{claim_id}"
    etag = api.get(path).headers["etag"]
    with api.rows.database.transaction() as session:
        attempt = session.get_one(Attempt, (api.rows.run_of(claim_id), 2))
        attempt.samples_done, attempt.alive_at = 150, now()
    until(lambda: conditional(api, path, etag).status_code == 200)
    assert api.json(path)["reproduction"]["samples_done"] == 150


@ON_BOTH
def test_a_look_that_fails_has_nothing_remembered_said_and_is_not_the_last(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/v1/claims/{api.rows.claim()}"
    etag = api.get(path).headers["etag"]
    looks: list[object] = []

    def fails(session: object) -> None:
        looks.append(session)
        raise ValueError("what nobody thought of")

    with monkeypatch.context() as patched:
        patched.setattr("scheduler.api.live.follower._running", fails)
        api.rows.verified()
        until(lambda: looks)
        with api.rows.database.transaction() as session:
            session.execute(update(Claim).values(notes="changed"))
        until(lambda: conditional(api, path, etag).status_code == 200)
        until(lambda: len(looks) > 2)
        assert caplog.text.count("what nobody thought of\nTraceback") == 1, "once is enough"
    etag = api.get(path).headers["etag"]
    until(lambda: conditional(api, path, etag).status_code == 304)


def test_a_mark_from_before_a_look_that_failed_never_comes_back(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, loop = Follower(api.rows.database, 0.01, Live(1)), asyncio.new_event_loop()
    follower.start(loop)
    until(lambda: follower.mark)
    before = follower.mark
    assert before is not None
    monkeypatch.setattr("scheduler.api.live.follower._exact", lambda *_, **__: 1 / 0)
    until(lambda: follower.mark is None)
    # Another connection's count of commits may come out the same.
    monkeypatch.setattr("scheduler.api.live.follower._exact", lambda *_, **__: before.exact)
    until(lambda: follower.mark)
    after = follower.mark
    follower.stop()
    loop.close()
    assert after is not None
    assert (after.exact, after.events > before.events, after.progress > before.progress) == (before.exact, True, True)


def test_an_answer_that_comes_out_the_same_is_a_304_although_something_happened(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    path = f"/v1/claims/{claim_id}"
    etag = api.get(path).headers["etag"]
    for number in range(5):
        api.rows.event("claim", "f" * 32, "submitted", str(number))
        time.sleep(0.1)
        assert conditional(api, path, etag).status_code == 304


@ON_BOTH
def test_who_asks_for_no_remembered_answer_gets_none(api: RunningApi) -> None:
    claim_id = api.rows.claim()
    path = f"/v1/claims/{claim_id}"
    for number in range(20):
        with api.rows.database.transaction() as session:
            session.get_one(Claim, claim_id).notes = str(number)
        answer = httpx2.get(api.url + path, headers={"cache-control": "no-cache"}, timeout=60)
        assert answer.json()["notes"] == str(number)


def test_what_makes_no_event_is_seen_a_little_later(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_memory, "LOOKED_AT_AGAIN_SECONDS", 0.2)
    claim_id = api.rows.claim()
    path = f"/v1/claims/{claim_id}"
    etag = api.get(path).headers["etag"]
    with api.rows.database.transaction() as session:
        session.get_one(Claim, claim_id).commit = "c" * 40
    until(lambda: conditional(api, path, etag).status_code == 200)


@pytest.mark.parametrize("path", ["/v1/overview", "/v1/pools"])
def test_waits_begin_and_go_on_although_nothing_is_written(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(answer_memory, "LOOKED_AT_AGAIN_SECONDS", 0.2)
    # However dear it is to find them.
    monkeypatch.setattr(count_cache, "CHEAP_SECONDS", -1.0)
    api.rows.planned(run={"not_before": now() + timedelta(seconds=3)})

    def wait() -> float:
        answer = api.json(path)
        pools: list[dict[str, float | None]] = answer.get("pools") or answer["items"]
        return max(pool["oldest_wait_seconds"] or 0.0 for pool in pools)

    # What was written just before may be seen by the follower in between.
    time.sleep(4 * api.settings.api_look_seconds)
    assert wait() == 0.0
    until(lambda: wait() > 0.0)
    first = wait()
    until(lambda: wait() > first)


def test_the_overview_goes_through_what_waits_no_oftener_than_that_is_worth(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "LOOKED_AT_AGAIN_SECONDS", 0.2)
    waiting(api, monkeypatch, share=1e-9)
    first = api.json("/v1/overview")["pools"][0]["oldest_wait_seconds"]
    api.rows.planned("other/model")
    with counting(api) as said:
        until(lambda: api.json("/v1/overview")["pools"][0]["oldest_wait_seconds"] > first)
        found = api.json("/v1/overview")
        api.get("/")
    assert (found["pools"][0]["queued"], found["counted_at"] is None) == (1, False)
    assert not any("GROUP BY reproduction.pool" in each for each in said)


@pytest.mark.parametrize("path", ["/v1/claims/{}", "/v1/claims", "/v1/reproductions"])
def test_what_was_not_to_be_sent_before_a_time_waits_for_something_else_after_it(api: RunningApi, path: str) -> None:
    claim_id = api.rows.planned(run={"not_before": now() + timedelta(seconds=3)})

    def waits_for() -> str:
        answer = api.json(path.format(claim_id))
        found = answer["items"][0] if "items" in answer else answer
        said: str = found.get("reproduction", found)["waits_for"]
        return said

    # What was written just before may be seen by the follower in between.
    time.sleep(4 * api.settings.api_look_seconds)
    assert waits_for().startswith("its next attempt")
    until(lambda: waits_for().startswith("a worker of pool"))


def waiting(api: RunningApi, monkeypatch: pytest.MonkeyPatch, share: float) -> str:
    """A claim that waits, in a queue that is counted for `share` of the time, however soon that is done."""
    monkeypatch.setattr(count_cache, "CHEAP_SECONDS", -1.0)
    monkeypatch.setattr(count_cache, "SHARE", share)
    claim_id = api.rows.planned()
    assert api.json(f"/v1/claims/{claim_id}")["reproduction"]["queue_position"] == 1
    return claim_id


@pytest.mark.parametrize("path", ["/v1/claims/{}", "/v1/claims", "/v1/reproductions"])
def test_a_place_that_may_be_old_is_remembered_until_places_are_counted_again(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    asked = path.format(waiting(api, monkeypatch, share=1e-9))

    def from_memory() -> bool:
        with counting(api) as said:
            api.json(asked)
        return not any("FROM reproduction" in each or "FROM claim" in each for each in said)

    for number in range(3):
        api.rows.event("claim", "f" * 32, "submitted", str(number))
        time.sleep(4 * api.settings.api_look_seconds)
        until(from_memory)


def test_a_place_that_may_be_old_is_counted_again_although_nothing_else_happens(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "LOOKED_AT_AGAIN_SECONDS", 0.2)
    claim_id = waiting(api, monkeypatch, share=1e-2)
    api.rows.planned("urgent/model", run={"priority": 10})

    def place() -> int:
        found: int = api.json(f"/v1/claims/{claim_id}")["reproduction"]["queue_position"]
        return found

    # A count that took a second is not taken again for a hundred.
    until(lambda: place() == 2, patience_seconds=20 * PATIENCE_SECONDS)


@pytest.mark.parametrize("wanted", ["W/{}", '"other", {}', "*"])
def test_etags_are_compared_as_the_standard_says(api: RunningApi, wanted: str) -> None:
    etag = api.get("/v1/claims").headers["etag"]
    assert conditional(api, "/v1/claims", wanted.format(etag)).status_code == 304
    assert conditional(api, "/v1/claims", '"other"').status_code == 200


def test_errors_have_no_etag_and_are_not_remembered(api: RunningApi) -> None:
    path = "/v1/models/tiny/model"
    missing = api.get(path)
    assert missing.status_code == 404
    assert "etag" not in missing.headers
    api.rows.claim("tiny/model")
    assert api.get(path).status_code == 200


@ON_BOTH
def test_many_who_ask_at_once_cost_one_look_at_the_database(api: RunningApi) -> None:
    api.rows.decided(Outcome.MISMATCH, found=comparison())

    def from_memory() -> bool:
        with counting(api) as said:
            api.get("/v1/verdicts")
        return not any("FROM verdict" in each for each in said)

    # Before the follower's first look nothing is remembered.
    until(from_memory)
    with counting(api) as said, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.get("/v1/points"), range(32)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert sum("FROM claim JOIN verdict" in each for each in said) < 8


@ON_BOTH
def test_many_who_ask_at_once_for_what_is_not_remembered_share_one_that_began_after_they_asked(
    api: RunningApi,
) -> None:
    looks = 0

    async def missing(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal looks
        looks += 1
        number = looks
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"look %d" % number})

    told = asyncio.run(_asked_at_once(api, missing, 50))
    assert told == [b"look 1", *[b"look 2"] * 49]


def test_who_is_to_come_back_is_told_so_alone(api: RunningApi) -> None:
    app = FastAPI()
    problems.install(app)
    looks = itertools.count(1)

    @app.get("/v1/models/a/b")
    async def busy() -> None:
        number = next(looks)
        await asyncio.sleep(0.01)
        raise problems.TooManyPlans(f"look {number}")

    told = asyncio.run(_asked_at_once(api, app, 10, 503))
    assert {json.loads(each)["detail"] for each in told if isinstance(each, bytes)} == {
        f"look {n}" for n in range(1, 11)
    }


@ON_BOTH
def test_who_waited_for_an_answer_that_never_came_looks_without_waiting_for_others(api: RunningApi) -> None:
    at_once, most = 0, 0

    async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        raise ValueError("a fault of ours")

    told = asyncio.run(_asked_at_once(api, fails, 50))
    assert [str(each) for each in told] == ["a fault of ours"] * 50
    assert most == 48


def test_who_does_not_read_an_answer_keeps_it_from_nobody_else(api: RunningApi) -> None:
    async def missing(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"gone"})

    async def told() -> list[bytes]:
        cache, read = cache_of(api, missing), asyncio.Event()

        async def stalled(_message: Message) -> None:
            await read.wait()

        first = asyncio.create_task(_ask(cache, stalled))
        await asyncio.sleep(0)
        answers = [await _told(cache), await _told(cache)]
        read.set()
        await first
        return answers

    async def soon() -> list[bytes]:
        return await asyncio.wait_for(told(), PATIENCE_SECONDS)

    assert asyncio.run(soon()) == [b"gone"] * 2


def cache_of(api: RunningApi, app: ASGIApp) -> response_cache.ResponseCache:
    follower = Follower(api.rows.database, 1.0, Live(1))
    return response_cache.ResponseCache(app, follower=follower, memory_bytes=5000)


async def _ask(cache: response_cache.ResponseCache, send: Send) -> None:
    scope = {"type": "http", "method": "GET", "path": "/v1/models/a/b", "raw_path": b"/v1/models/a/b"}
    await cache({**scope, "query_string": b"", "headers": []}, _nothing, send)


async def _told(cache: response_cache.ResponseCache, status: int = 404) -> bytes:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await _ask(cache, send)
    assert messages[0]["status"] == status
    return bytes(messages[1]["body"])


async def _asked_at_once(api: RunningApi, app: ASGIApp, times: int, status: int = 404) -> list[bytes | BaseException]:
    """What so many are told who ask the cache before an app for the same."""
    cache = cache_of(api, app)
    asking = (_told(cache, status) for _ in range(times))
    return list(await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), PATIENCE_SECONDS))


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_pages_of_other_origins_may_read_and_nothing_else(api: RunningApi) -> None:
    origin = {"origin": "https://dashboard.example"}
    answer = httpx2.get(api.url + "/v1/claims", headers=origin, timeout=60)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    asks = {**origin, "access-control-request-headers": "if-none-match"}
    for method, status in (("GET", 200), ("POST", 400)):
        asked = {**asks, "access-control-request-method": method}
        assert httpx2.options(api.url + "/v1/claims", headers=asked, timeout=60).status_code == status


def test_pages_of_other_origins_can_read_why_they_are_refused(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=1) as api:
        origin = {"origin": "https://dashboard.example"}
        answers = [httpx2.get(api.url + "/v1/claims", headers=origin, timeout=60) for _ in range(2)]
        unknown = {**origin, "authorization": "Bearer mine"}
        answers.append(httpx2.get(api.url + "/v1/claims", headers=unknown, timeout=60))
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_a_closed_farm_tells_pages_of_other_origins_that_it_wants_a_token(tmp_path: Path) -> None:
    with running_api(tmp_path, public_reading=False, api_origins="https://a.example") as api:
        origin = {"origin": "https://a.example"}
        refused = httpx2.get(api.url + "/v1/claims", headers=origin, timeout=60)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://a.example"
        token = tokens.make(api.rows.database, NewToken(name="reader"), "operator:olga").secret
        page = httpx2.get(api.url + "/claims", headers={**origin, "authorization": f"Bearer {token}"}, timeout=60)
        assert page.status_code == 200
    for answer in (refused, page):
        assert {"authorization", "cookie", "Origin"} <= set(answer.headers["vary"].split(", "))


def test_an_operator_says_which_origins(tmp_path: Path) -> None:
    with running_api(tmp_path, api_origins="https://a.example, https://b.example") as api:
        for origin, allowed in (("https://b.example", "https://b.example"), ("https://c.example", None)):
            answer = httpx2.get(api.url + "/v1/claims", headers={"origin": origin}, timeout=60)
            assert answer.headers.get("access-control-allow-origin") == allowed
            if allowed:
                assert answer.headers["vary"] == "Origin"


def test_callers_with_a_token_share_the_answers_of_others(api: RunningApi) -> None:
    token = tokens.make(api.rows.database, NewToken(name="reader"), "operator:olga").secret
    claim_id = api.rows.verified()
    path = f"/v1/claims/{claim_id}"
    etag = api.get(path).headers["etag"]

    def looks_at_claims(**headers: str) -> bool:
        with counting(api) as said:
            answer = conditional(api, path, etag, authorization=f"Bearer {token}", **headers)
        assert answer.status_code == 304
        return any("FROM claim" in each for each in said)

    # What was written just before may be seen by the follower in between.
    until(lambda: not looks_at_claims())
    assert looks_at_claims(**{"cache-control": "no-cache"})
