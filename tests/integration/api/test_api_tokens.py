from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select, text, update

from scheduler.database.tables import ApiToken, Event, now
from tests.support.api import RunningApi, running_api
from tests.support.callers import Headers, revoked_token, token


@pytest.fixture
def operator(api: RunningApi) -> Headers:
    return token(api, "ops", "operate")


def make(api: RunningApi, operator: Headers, **wanted: object) -> httpx2.Response:
    return httpx2.post(api.url + "/v1/tokens", headers=operator, json=wanted)


def rows(api: RunningApi) -> list[ApiToken]:
    with api.rows.database.reading() as session:
        return list(session.scalars(select(ApiToken)))


def test_a_token_is_shown_once_and_only_its_hash_is_kept(api: RunningApi, operator: Headers) -> None:
    made = make(api, operator, name="ci", scopes=["read"], days=30)
    assert made.status_code == 201
    secret = made.json()["token"]
    assert secret.startswith("rf_")
    assert len(secret) == 46
    with api.rows.database.reading() as session:
        stored = session.execute(text("SELECT * FROM api_token")).all()
        events = session.execute(text("SELECT * FROM event")).all()
    assert secret.removeprefix("rf_") not in repr([*stored, *events])
    listed = httpx2.get(api.url + "/v1/tokens", headers=operator)
    assert secret not in listed.text
    assert [each["name"] for each in listed.json()["items"]] == ["ci", "ops"]
    assert api.get("/v1/me").json()["kind"] == "anonymous"
    me = httpx2.get(api.url + "/v1/me", headers={"authorization": f"Bearer {secret}"}).json()
    assert (me["actor"], me["scopes"], me["namespaces"]) == ("token:ci", ["read"], None)


def test_who_made_and_revoked_a_token_is_in_the_record(api: RunningApi, operator: Headers) -> None:
    made = make(api, operator, name="ci", scopes=["request"], namespaces=["acme"]).json()
    revoked = httpx2.delete(f"{api.url}/v1/tokens/{made['id']}", headers=operator)
    assert revoked.json()["revoked_by"] == "token:ops"
    with api.rows.database.reading() as session:
        events = session.scalars(select(Event).where(Event.subject_id == made["id"]).order_by(Event.event_id)).all()
    assert [(event.actor, event.what) for event in events] == [("token:ops", "created"), ("token:ops", "revoked")]
    answer = httpx2.get(api.url + "/v1/claims", headers={"authorization": f"Bearer {made['token']}"})
    assert answer.status_code == 401
    assert "was revoked" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="reprofarm", error="invalid_token"'


def test_a_name_is_given_once_even_after_its_token_was_revoked(api: RunningApi, operator: Headers) -> None:
    revoked_token(api, "ci")
    answer = make(api, operator, name="ci")
    assert answer.status_code == 409
    assert "another name" in answer.json()["detail"]


def test_what_no_token_can_be_is_refused(api: RunningApi, operator: Headers) -> None:
    faults: list[dict[str, object]] = [
        {"name": "Not A Name"},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": []},
        {"name": "x", "days": 0},
        {"name": "x", "days": 100_000},
        {"name": "x", "namespaces": []},
        {"name": "x", "token": "rf_mine"},
    ]
    assert {make(api, operator, **wanted).status_code for wanted in faults} == {422}
    # Who operates acts on the whole farm.
    assert make(api, operator, name="x", scopes=["operate"], namespaces=["acme"]).status_code == 409
    assert [row.name for row in rows(api)] == ["ops"]


def test_last_used_is_kept_to_the_hour_so_that_reading_does_not_write(api: RunningApi) -> None:
    headers = token(api, "polls")

    def used_at_after_reading() -> object:
        assert httpx2.get(api.url + "/v1/claims", headers=headers).status_code == 200
        return rows(api)[0].used_at

    first = used_at_after_reading()
    assert first is not None
    assert used_at_after_reading() == first
    with api.rows.database.transaction() as session:
        session.execute(update(ApiToken).values(used_at=now() - timedelta(hours=2)))
    assert used_at_after_reading() != first


def test_what_is_no_token_is_refused_even_where_anybody_may_read(tmp_path: Path) -> None:
    shown = (b"Bearer rf_short", b"Bearer hf_abc", b"Basic YTpi", b"Bearer", b"rf_x", b"Bearer \xff", b"Bearer a b")
    with running_api(tmp_path) as api:
        for authorization in shown:
            answer = httpx2.get(api.url + "/v1/claims", headers=[(b"authorization", authorization)])
            assert answer.status_code == 401, authorization
            assert "www-authenticate" in answer.headers


def test_a_token_in_an_address_is_refused_and_not_used(api: RunningApi, operator: Headers) -> None:
    secret = operator["authorization"].removeprefix("Bearer ")
    for query in (f"access_token={secret}", f"token={secret}", f"q=x{secret}", "access_token=anything"):
        answer = httpx2.get(f"{api.url}/v1/tokens?{query}")
        assert answer.status_code == 400, query
        assert secret not in answer.text
    assert rows(api)[0].used_at is None


def test_headers_and_bodies_longer_than_any_that_the_api_has_use_for_are_refused(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        for name in ("authorization", "cookie"):
            answer = httpx2.get(api.url + "/v1/claims", headers={name: "Bearer " + "x" * 9000})
            assert answer.status_code == 431
        body = b" " * (1024 * 1024 + 1)
        assert (
            httpx2.post(api.url + "/v1/tokens", headers=token(api, "ops", "operate"), content=body).status_code == 413
        )
