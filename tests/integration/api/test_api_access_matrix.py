"""Every route against every kind of caller. A route that is not in the table fails: none is open by accident."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import Mount, Route

from scheduler.api.app import create_app
from scheduler.settings import Settings
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi, running_api
from tests.support.callers import Headers, expired_token, revoked_token, signed_in, token
from tests.support.rows import comparison


class Rule(StrEnum):
    OPEN = "anybody, always"
    READ = "who may read"
    OWN = "who requests, for what is in their namespaces; operators"
    OPERATE = "operators"


BADGE = "/badges/{model_namespace}/{model_name}/{dataset_namespace}/{dataset_name}"

RULES: dict[str, Rule] = {
    "GET /openapi.json": Rule.READ,
    "GET /v1/claims": Rule.READ,
    "GET /v1/claims/{claim_id}": Rule.READ,
    "GET /v1/claims/{claim_id}/plan": Rule.READ,
    "GET /v1/claims/{claim_id}/badge": Rule.READ,
    "GET /v1/claims/{claim_id}/events": Rule.READ,
    "GET /v1/reproductions": Rule.READ,
    "GET /v1/reproductions/{reproduction_id}": Rule.READ,
    "GET /v1/reproductions/{reproduction_id}/trace": Rule.READ,
    "GET /v1/verdicts": Rule.READ,
    "GET /v1/badges/{badge_id}": Rule.READ,
    "GET /v1/events": Rule.READ,
    "GET /v1/benchmarks": Rule.READ,
    "GET /v1/noise": Rule.READ,
    "GET /v1/evidence/{sha256}": Rule.READ,
    "GET /": Rule.READ,
    "GET /claims": Rule.READ,
    "GET /claims/{claim_id}": Rule.READ,
    "GET /benchmarks": Rule.READ,
    "GET /benchmarks/{namespace}/{name}": Rule.READ,
    "GET /models/{namespace}/{name}": Rule.READ,
    "GET /workers": Rule.READ,
    "GET /audit": Rule.READ,
    "GET /verify": Rule.READ,
    "GET /static": Rule.OPEN,
    "GET /logs/": Rule.READ,
    "GET /logs/listing.json": Rule.READ,
    "GET /logs/assets/{name}": Rule.READ,
    "GET /logs/{sha256}.eval": Rule.READ,
    "GET /metrics": Rule.READ,
    "GET /v1/workers": Rule.READ,
    "GET /v1/pools": Rule.READ,
    "GET /v1/overview": Rule.READ,
    "GET /v1/models/{name}": Rule.READ,
    "GET /v1/models/{namespace}/{name}": Rule.READ,
    "GET /v1/benchmarks/{name}": Rule.READ,
    "GET /v1/benchmarks/{namespace}/{name}": Rule.READ,
    "GET /v1/points": Rule.READ,
    "GET /v1/policy": Rule.READ,
    **{f"GET {BADGE}{form}": Rule.READ for form in (".svg", ".json", ".html")},
    **{f"GET {BADGE}/{{task:path}}{form}": Rule.READ for form in (".svg", ".json", ".html")},
    "GET /feeds/models/{name}.atom": Rule.READ,
    "GET /feeds/models/{namespace}/{name}.atom": Rule.READ,
    "GET /feeds/benchmarks/{name}.atom": Rule.READ,
    "GET /feeds/benchmarks/{namespace}/{name}.atom": Rule.READ,
    "GET /feeds/namespaces/{namespace}.atom": Rule.READ,
    "POST /hub/webhook": Rule.OPEN,
    "GET /v1/webhooks": Rule.OPERATE,
    "POST /v1/webhooks": Rule.OPERATE,
    "DELETE /v1/webhooks/{webhook_id}": Rule.OPERATE,
    "GET /v1/webhooks/{webhook_id}/deliveries": Rule.OPERATE,
    "POST /v1/webhooks/{webhook_id}/test": Rule.OPERATE,
    "GET /v1/revocations": Rule.OPEN,
    "GET /v1/revocations/keys": Rule.OPEN,
    "GET /.well-known/jwks.json": Rule.OPEN,
    "GET /healthz": Rule.OPEN,
    "GET /readyz": Rule.OPEN,
    "GET /v1/me": Rule.OPEN,
    "GET /auth/login": Rule.OPEN,
    "GET /auth/callback": Rule.OPEN,
    "POST /auth/logout": Rule.OPEN,
    "GET /v1/tokens": Rule.OPERATE,
    "POST /v1/tokens": Rule.OPERATE,
    "DELETE /v1/tokens/{token_id}": Rule.OPERATE,
    "POST /v1/claims/{claim_id}/cancel": Rule.OWN,
    "POST /v1/claims/{claim_id}/retry": Rule.OWN,
    "POST /v1/claims/{claim_id}/reverify": Rule.OWN,
    "POST /v1/claims/{claim_id}/publish": Rule.OWN,
    "POST /v1/claims/{claim_id}/approve": Rule.OPERATE,
    "POST /v1/reproductions/{reproduction_id}/cancel": Rule.OWN,
    "POST /v1/reproductions/{reproduction_id}/retry": Rule.OWN,
    "POST /v1/verifications": Rule.OWN,
    "POST /v1/badges/{badge_id}/revoke": Rule.OPERATE,
}

BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/verifications": {"why": "asked", "model": "tiny/model", "dataset": "acme/capitals"},
}

SAFE = ("GET", "HEAD", "OPTIONS")

KINDS = (
    *("anonymous", "reads", "requests", "requests elsewhere", "operates", "expired", "revoked"),
    *("maintainer", "maintainer elsewhere", "maintainer from another site", "operator signed in"),
)


def routes() -> list[str]:
    app = create_app(Settings(database_url="sqlite://"))
    found = []
    for route in app.routes:
        assert isinstance(route, Route | Mount), route
        methods = sorted(route.methods or ()) if isinstance(route, Route) else ["GET"]
        found += [f"{method} {route.path}" for method in methods if method != "HEAD"]
    return found


def test_every_route_says_who_may_use_it() -> None:
    assert sorted(RULES) == sorted(routes())


@dataclass(frozen=True)
class Farm:
    api: RunningApi
    headers: dict[str, Headers]
    client: httpx2.Client
    read: dict[str, str] = field(default_factory=dict)
    """Paths with ids filled in that are only read: everybody may be answered about the same things."""

    def status(self, route: str, kind: str) -> int:
        """What a caller is answered, about things that belong to tiny/model."""
        method, path = route.split(" ", 1)
        headers = dict(self.headers[kind])
        if method in SAFE:
            # Browsers say where a request comes from only where it may act.
            headers.pop("origin", None)
        body = None if method in SAFE else BODIES.get(route, {"why": "asked"})
        if route == "POST /v1/tokens":
            body = {"name": f"made-{secrets.token_hex(4)}"}
        if method in SAFE and path not in self.read:
            self.read[path] = self._filled(path)
        filled = self.read[path] if method in SAFE else self._filled(path)
        answer = self.client.request(method, filled, headers=headers, json=body)
        # 502 and 503 where the Hub or Redis is wanted, of which there is none here.
        assert answer.status_code != 500, answer.text
        if route == "POST /auth/logout":
            self.headers.update(signed_in_people(self.api))
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
        return answer.status_code

    def _filled(self, path: str) -> str:
        """The path with ids of things that nobody has touched yet."""
        if "{" not in path:
            return path
        claim_id = (
            self.api.rows.planned()
            if "cancel" in path or "trace" in path
            else self.api.rows.verified()
            if "badge" in path
            else self.api.rows.decided(Outcome.FAILED, found=comparison())
        )
        values = {
            "claim_id": claim_id,
            "reproduction_id": self.api.rows.run_of(claim_id),
            "badge_id": self.client.get(f"/v1/claims/{claim_id}").json()["badge"]["id"] if "badge_id" in path else "",
            "token_id": "nobody",
            "sha256": "0" * 64,
            "webhook_id": "0" * 32,
            "namespace": "tiny",
            "name": "model",
            "model_namespace": "tiny",
            "model_name": "model",
            "dataset_namespace": "acme",
            "dataset_name": "capitals",
            "task": "europe",
        }
        return re.sub(r"\{(\w+)(?::path)?\}", lambda found: str(values[found[1]]), path)


def signed_in_people(api: RunningApi) -> dict[str, Headers]:
    maintainer = signed_in(api, "tim", "tiny")
    return {
        "maintainer": maintainer,
        "maintainer elsewhere": signed_in(api, "eve", "other"),
        "maintainer from another site": {**maintainer, "origin": "https://evil.test"},
        "operator signed in": signed_in(api, "olga"),
    }


def everybody(api: RunningApi) -> dict[str, Headers]:
    return {
        "anonymous": {},
        "reads": token(api, "reads"),
        "requests": token(api, "requests", "request", ("tiny",)),
        "requests elsewhere": token(api, "elsewhere", "request", ("other",)),
        "operates": token(api, "operates", "operate"),
        "expired": expired_token(api, "expired"),
        "revoked": revoked_token(api, "revoked"),
        **signed_in_people(api),
    }


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with _running(tmp_path_factory.mktemp("open")) as found:
        yield found


@pytest.fixture(scope="module")
def closed_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    closed = {"public_reading": False, "public_metrics": False, "readers": ("tiny",)}
    with _running(tmp_path_factory.mktemp("closed"), **closed) as found:
        yield found


@contextmanager
def _running(folder: Path, **settings: Any) -> Iterator[Farm]:
    unlimited: dict[str, Any] = {"reads_per_minute": 0, "actions_per_hour": 0}
    with (
        running_api(folder, operators=("olga",), **unlimited, **settings) as api,
        httpx2.Client(base_url=api.url, timeout=60) as client,
    ):
        yield Farm(api, everybody(api), client)


def expected(rule: Rule, kind: str, method: str, *, closed: bool) -> int | None:
    """The status of who is refused; None for who is let through, whatever the answer then is."""
    if kind in ("expired", "revoked"):
        return 401
    if kind == "maintainer from another site" and method not in SAFE:
        return 403
    if rule is Rule.OPEN or (rule is Rule.READ and not closed):
        return None
    if rule is Rule.READ:
        return {"anonymous": 401, "maintainer elsewhere": 403}.get(kind)
    if kind == "anonymous":
        return 401
    allowed = {"operates", "operator signed in"}
    if rule is Rule.OWN:
        allowed |= {"requests", "maintainer"}
    return None if kind in allowed else 403


@pytest.mark.parametrize("route", sorted(RULES))
def test_who_may_use_a_route_of_a_farm_that_is_open_to_read(farm: Farm, route: str) -> None:
    method = route.split(" ", 1)[0]
    found = {kind: farm.status(route, kind) for kind in KINDS}
    refused = {kind: status if status in (401, 403) else None for kind, status in found.items()}
    assert refused == {kind: expected(RULES[route], kind, method, closed=False) for kind in KINDS}


@pytest.mark.parametrize("route", [route for route in sorted(RULES) if "{" not in route])
def test_who_may_use_a_route_of_a_farm_that_is_closed(closed_farm: Farm, route: str) -> None:
    method = route.split(" ", 1)[0]
    found = {kind: closed_farm.status(route, kind) for kind in KINDS}
    refused = {kind: status if status in (401, 403) else None for kind, status in found.items()}
    assert refused == {kind: expected(RULES[route], kind, method, closed=True) for kind in KINDS}


@pytest.mark.parametrize("path", ["/v1/claims", "/v1/me", "/v1/policy", "/claims"])
def test_a_closed_farm_keeps_its_answers_out_of_shared_caches(closed_farm: Farm, path: str) -> None:
    answer = httpx2.get(closed_farm.api.url + path, headers=closed_farm.headers["reads"])
    assert answer.status_code == 200
    assert {"authorization", "cookie"} <= set(answer.headers["vary"].lower().split(", "))
    assert {"private", "no-store"} & set(answer.headers["cache-control"].split(", "))
    unchanged = {**closed_farm.headers["reads"], "if-none-match": answer.headers.get("etag", "none")}
    again = httpx2.get(closed_farm.api.url + path, headers=unchanged)
    assert again.headers["cache-control"] == answer.headers["cache-control"]


def test_what_no_route_answers_is_closed_too(closed_farm: Farm) -> None:
    for path in ("/", "/v1/nothing", "/v1/claims/", "//v1/claims", "/healthz/../v1/claims", "/v1/me/../claims"):
        assert httpx2.get(closed_farm.api.url + path).status_code == 401, path
