from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2

from tests.support.api import RunningApi, running_api
from tests.support.callers import Headers, token

NOWHERE = "redis://127.0.0.1:1/0"


def act(api: RunningApi, headers: Headers) -> httpx2.Response:
    return httpx2.post(api.url + "/v1/claims/012345abc/cancel", headers=headers, json={"why": "asked"})


def test_a_caller_reads_so_much_a_minute_and_others_are_not_bound_by_it(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=3, broker_url=NOWHERE) as api:
        known = token(api, "polls")
        for left in (2, 1, 0):
            assert api.get("/v1/claims").headers["ratelimit-remaining"] == str(left)
        answer = api.get("/v1/claims")
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert 1 <= int(answer.headers["retry-after"]) <= 61
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("3", "0")
        assert httpx2.get(api.url + "/v1/claims", headers=known).status_code == 200
        assert api.get("/healthz").status_code == 200, "what keeps the process alive is never refused"
        # What a caller says of where it is counts for nothing while no proxy is set up.
        assert httpx2.get(api.url + "/v1/claims", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 429


def test_guesses_at_tokens_count_for_the_address(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=2, broker_url=NOWHERE) as api:
        guess = {"authorization": "Bearer rf_" + "a" * 43}
        statuses = [httpx2.get(api.url + "/v1/claims", headers=guess).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]


def test_behind_a_proxy_each_address_has_its_own_allowance(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=1, proxies=1, broker_url=NOWHERE) as api:
        statuses = [
            httpx2.get(api.url + "/v1/claims", headers={"x-forwarded-for": address}).status_code
            for address in ("198.51.100.1", "198.51.100.2", "made-up, 198.51.100.1")
        ]
    assert statuses == [200, 200, 429]


def test_actions_are_counted_over_all_processes(tmp_path: Path, redis_url: str) -> None:
    settings: dict[str, Any] = {"actions_per_hour": 2, "broker_url": redis_url}
    with running_api(tmp_path, **settings) as one, running_api(tmp_path, **settings) as other:
        headers = token(one, "asks", "request")
        assert [act(api, headers).status_code for api in (one, other, one, other)] == [404, 404, 429, 429]
        # Who operates works through lists.
        operator = token(one, "ops", "operate")
        assert {act(one, operator).status_code for _ in range(4)} == {404}


def test_without_redis_each_process_counts_by_itself(tmp_path: Path) -> None:
    with running_api(tmp_path, actions_per_hour=1, broker_url=NOWHERE) as api:
        headers = token(api, "asks", "request")
        assert [act(api, headers).status_code for _ in range(2)] == [404, 429]
        assert httpx2.get(api.url + "/v1/me", headers=headers).status_code == 200


def test_a_limit_of_0_is_none(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=0, actions_per_hour=0, broker_url=NOWHERE) as api:
        assert "ratelimit-limit" not in api.get("/v1/claims").headers
        assert act(api, token(api, "asks", "request")).status_code == 404
