from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from scheduler.webhooks import delivery
from tests.support.api import RunningApi
from tests.support.callers import token
from tests.support.receiver import receiving


@pytest.fixture
def farm(api: RunningApi) -> RunningApi:
    """As an operator asks it."""
    return replace(api, headers=token(api, "olga", "operate"))


def post(api: RunningApi, path: str, body: object = None) -> httpx2.Response:
    return httpx2.post(api.url + path, json=body, headers=api.headers, timeout=60)


def delete(api: RunningApi, path: str) -> httpx2.Response:
    return httpx2.delete(api.url + path, headers=api.headers, timeout=60)


def test_an_operator_adds_tries_reads_and_removes_a_webhook(farm: RunningApi) -> None:
    with receiving() as receiver:
        created = post(farm, "/v1/webhooks", {"url": receiver.url, "filter": {"kinds": ["claim.decided"]}})
        assert created.status_code == 201, created.text
        webhook = created.json()
        assert webhook["secret"].startswith("whsec_")
        assert webhook["created_by"] == "token:olga"
        place = f"/v1/webhooks/{webhook['id']}"
        assert post(farm, f"{place}/test").json()["kind"] == "test"
        delivery.send_due(farm.rows.database, private=True)
        assert b'"type": "test"' in receiver.got[0][1]
    (sent,) = farm.json(f"{place}/deliveries")["items"]
    assert (sent["status"], sent["event_id"], sent["tries"]) == (200, None, 1)
    (listed,) = farm.json("/v1/webhooks")["items"]
    assert "secret" not in listed
    assert delete(farm, place).status_code == 204
    assert delete(farm, place).status_code == 404
    assert farm.json("/v1/webhooks")["items"][0]["enabled"] is False
    recorded = [(event["actor"], event["what"]) for event in farm.json("/v1/events", subject="webhook")["items"]]
    assert recorded == [("token:olga", "added"), ("token:olga", "removed")]


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://a.example/hook"},
        {"url": "https://user:pass@a.example/"},
        {"url": "https://a.example/", "filter": {"kinds": ["everything"]}},
        {"url": "https://a.example/", "filter": {"kinds": ["claim.decide"]}},
        {"url": "https://a.example/", "secret": "mine"},
        {},
    ],
)
def test_what_cannot_be_told_is_refused_with_a_reason(farm: RunningApi, body: dict[str, object]) -> None:
    refused = post(farm, "/v1/webhooks", body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"


def test_nobody_else_sees_or_changes_webhooks(api: RunningApi) -> None:
    place = f"/v1/webhooks/{'a' * 32}"
    answers = [
        api.get("/v1/webhooks"),
        api.get(f"{place}/deliveries"),
        post(api, "/v1/webhooks", {"url": "https://a.example/"}),
        post(api, f"{place}/test"),
        delete(api, place),
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
