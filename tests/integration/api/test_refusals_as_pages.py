"""Who is turned away before a page's route is asked sees a page too, where their browser asks for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import httpx2
import pytest
from sqlalchemy import QueuePool, text
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from scheduler.api.routes import overview
from scheduler.database.tables import SignedIn
from tests.support.api import RunningApi, running_api
from tests.support.browser_sign_in import Browser, Site, running_site

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as found:
        yield found


def shown(answer: httpx2.Response, status: int) -> str:
    """What a page says, which keeps to the policy of all pages and can be read as it is meant to look."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-cache"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_who_asks_for_too_much_is_told_on_a_page_when_to_come_back(tmp_path: Path) -> None:
    with running_api(tmp_path, reads_per_minute=1, broker_url=NOWHERE) as api:
        assert httpx2.get(api.url + "/claims", headers=HTML).status_code == 200
        answer = httpx2.get(api.url + "/claims", headers=HTML)
        said = shown(answer, 429)
        assert f"try again in {answer.headers['retry-after']} s" in said
        assert answer.headers["ratelimit-remaining"] == "0"
        assert "Try again" in said
        styles = re.findall(r'href="(/static/styles/[^"]+)"', answer.text)
        assert {httpx2.get(api.url + address).status_code for address in styles[:1]} == {200}, "counted apart"
        assert httpx2.get(api.url + "/claims").headers["content-type"] == "application/problem+json"


def test_a_closed_farm_without_a_sign_in_says_on_a_page_that_it_is_closed(tmp_path: Path) -> None:
    with running_api(tmp_path, public_reading=False) as api:
        answer = httpx2.get(api.url + "/claims", headers=HTML)
        said = shown(answer, 401)
        assert "This farm is closed" in said
        assert "tokens that read" in said
        assert "Search the claims" not in said, "that is closed too"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        styles = re.findall(r'href="(/static/styles/[^"]+)"', answer.text)
        assert {httpx2.get(api.url + address).status_code for address in styles} == {200}


def test_who_signed_in_and_may_not_read_is_told_so_on_a_page(tmp_path: Path) -> None:
    with running_site(tmp_path, public_reading=False, readers=("acme",)) as site:
        outsider = Browser(site)
        outsider.sign_in(site.hub.local.add_token("bob"))
        answer = httpx2.get(site.api.url + "/claims", headers=HTML, cookies=outsider.cookies)
        said = shown(answer, 403)
        assert "not among those who may read" in said
        assert "Sign out" in said


def test_a_forged_sign_out_is_a_page_and_signs_nobody_out(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in(site.hub.local.add_token("alice"))
    forged = {**HTML, "origin": "https://evil.test"}
    answer = httpx2.post(site.api.url + "/auth/logout", headers=forged, cookies=browser.cookies)
    said = shown(answer, 403)
    assert "Nothing was done" in said
    assert "at http://farm.test" in said, "where the farm thinks that it is"
    assert browser.me()["kind"] == "session"


def test_a_database_that_is_away_is_a_page_for_who_is_signed_in(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in(site.hub.local.add_token("alice"))
    with site.api.rows.database.transaction() as session:
        session.execute(text(f"DROP TABLE {SignedIn.__tablename__}"))
    answer = httpx2.get(site.api.url + "/claims", headers=HTML, cookies=browser.cookies)
    assert "database does not answer" in shown(answer, 503)
    assert answer.headers["retry-after"] == "5"
    answer = httpx2.get(site.api.url + "/v1/claims", cookies=browser.cookies)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"].endswith(":database-away"), "as where a route finds out"


def test_that_others_keep_all_connections_is_no_fault_of_the_farms(
    shared_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_pool: QueuePool) -> NoReturn:
        raise NoConnectionFree("QueuePool limit of size 15 overflow 0 reached, connection timed out, timeout 30.00")

    monkeypatch.setattr(QueuePool, "connect", full)
    assert "database does not answer" in shown(httpx2.get(shared_api.url + "/claims", headers=HTML), 503)
    answer = httpx2.get(shared_api.url + "/v1/claims")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"].endswith(":database-away")


def test_a_fault_of_ours_is_a_page_and_to_programs_a_problem_with_the_headers_of_every_answer(
    shared_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> NoReturn:
        raise KeyError("secret")

    monkeypatch.setattr(overview, "pool_loads", broken)
    assert "no fault of yours" in shown(httpx2.get(shared_api.url + "/", headers=HTML), 500)
    answer = httpx2.get(shared_api.url + "/v1/overview", headers={"origin": "https://elsewhere.test"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["ratelimit-remaining"]) > 0


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/auth/logout", 405)])
def test_an_address_that_leads_nowhere_is_a_page_and_json_for_programs(
    shared_api: RunningApi, path: str, status: int
) -> None:
    answer = httpx2.get(shared_api.url + path, headers=HTML)
    assert path in shown(answer, status)
    assert httpx2.get(shared_api.url + path).headers["content-type"] == "application/problem+json"


def test_the_api_answers_in_json_to_a_browser_too(shared_api: RunningApi) -> None:
    answer = httpx2.get(shared_api.url + "/v1/nothing", headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_what_stood_in_the_address_does_nothing_on_the_page(shared_api: RunningApi) -> None:
    answer = httpx2.get(shared_api.url + "/<script>alert(1)</script>", headers=HTML)
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
