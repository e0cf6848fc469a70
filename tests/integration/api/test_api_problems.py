from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.support.api import RunningApi, running_api
from tests.support.databases import mostly_sqlite

databases = mostly_sqlite


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/claims?limit=201", 422),
        ("/v1/claims?limit=0", 422),
        ("/v1/claims?state=lost", 422),
        ("/v1/claims?outcome=maybe", 422),
        ("/v1/claims/abc", 422),
        ("/v1/claims/ABCDEF01", 422),
        ("/v1/claims?cursor=nonsense", 400),
        ("/v1/claims?cursor=MjAyNi0wMy0wMVQxMjowMDowMHxhYg", 400),
        ("/v1/claims?cursor=%F0%9F%92%A9", 400),
        # The first hour of the calendar, east of Greenwich.
        ("/v1/claims?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzowMHxhYg", 400),
        ("/v1/claims?model=%00", 400),
        ("/v1/badges/%00", 400),
        ("/v1/reproductions/012345abc", 404),
        ("/v1/badges/nobody", 404),
        ("/v1/evidence/" + "0" * 64, 404),
        ("/v1/evidence/..%2f..%2fetc%2fpasswd", 404),
        ("/v1/evidence/short", 422),
        ("/v1/events?after=-1", 422),
        ("/v1/events?after=99999999999999999999", 422),
        ("/v1/nothing", 404),
    ],
)
def test_a_wrong_request_is_answered_with_a_problem(shared_api: RunningApi, path: str, status: int) -> None:
    answer = httpx2.get(shared_api.url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/claims?limit=0", "query limit: must be 1 or more"),
        ("/v1/verdicts?limit=201", "query limit: must be 200 or less"),
        ("/v1/events?limit=many", "query limit: must be a whole number"),
        ("/v1/events?order=last", "query order: must be 'oldest' or 'newest'"),
        ("/v1/claims?q=x", "query q: must have 2 or more characters"),
        ("/v1/claims?since=soon", "query since: not a date and time, 2026-03-01T12:00:00Z say"),
    ],
)
def test_a_refusal_says_what_is_allowed_and_who_must_act(shared_api: RunningApi, path: str, words: str) -> None:
    answer = httpx2.get(shared_api.url + path).json()
    assert answer["detail"] == "the request is invalid, so whoever sends it must change it"
    assert answer["errors"] == [words]


def test_a_refused_value_is_not_echoed(shared_api: RunningApi) -> None:
    answer = shared_api.get("/v1/claims", state="<script>\x1b[31m")
    assert "script" not in answer.text
    assert "state" in answer.json()["errors"][0]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(shared_api: RunningApi, method: str) -> None:
    answer = httpx2.request(method, shared_api.url + "/v1/claims")
    assert answer.status_code == 405
    assert answer.json()["title"] == "Method Not Allowed"


def test_a_database_without_tables_is_our_fault_and_passes(tmp_path: Path) -> None:
    with running_api(tmp_path, migrated=False) as api:
        answer = api.get("/v1/claims")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "SELECT" not in answer.text
    assert "not migrated" in answer.json()["detail"]


def test_the_openapi_document_describes_every_route_and_its_errors(shared_api: RunningApi) -> None:
    document = shared_api.json("/openapi.json")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all("default" in operation["responses"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert {"/v1/claims", "/v1/claims/{claim_id}", "/v1/events", "/.well-known/jwks.json"} <= set(document["paths"])
    described = document["components"]["schemas"]["ClaimView"]["properties"]
    assert described["claimed"]["description"]


@pytest.mark.parametrize("start", ["abc", "ABCDEF", "0" * 33, "abcdef%0A"])
def test_what_is_no_id_is_said_in_words_and_the_document_has_its_pattern(shared_api: RunningApi, start: str) -> None:
    answer = shared_api.get(f"/v1/claims/{start}")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        "path claim_id: not an id: those are 32 of the characters 0-9 and a-f, of which the first 6 or more do"
    ]
    show = shared_api.json("/openapi.json")["paths"]["/v1/claims/{claim_id}"]["get"]
    assert show["parameters"][0]["schema"]["pattern"] == "^[0-9a-f]{6,32}$"
