"""Signing in with the Hub, from the first click to the last, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import func, select, text, update

from deploy.localhub.oauth.provider import subject_of
from scheduler.access import sign_in
from scheduler.access.sessions import close_all_of
from scheduler.database.tables import Event, SignedIn, SignIn, now
from tests.support.browser_sign_in import Browser, Site, running_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as found:
        yield found


def alice(site: Site) -> str:
    """Her token on the Hub; she administers acme and writes in others."""
    site.hub.local.storage.members.put("acme", "alice", "admin")
    site.hub.local.storage.members.put("others", "alice", "write")
    return site.hub.local.add_token("alice", orgs=("third",))


def test_a_maintainer_signs_in_acts_and_signs_out(site: Site) -> None:
    browser = Browser(site)
    assert browser.me()["sign_in"] == "/auth/login"
    answer = browser.sign_in(alice(site))
    assert (answer.status_code, answer.headers["location"]) == (303, "/claims")
    me = browser.me()
    assert (me["kind"], me["actor"], me["scopes"]) == ("session", "hub:alice", ["read", "request"])
    assert me["namespaces"] == ["acme", "alice"], "her own, and where the Hub says that she is an administrator"
    claim_id = site.api.rows.claim("acme/model")
    with httpx2.Client(
        base_url=site.api.url, cookies=browser.cookies, headers={"sec-fetch-site": "same-origin"}
    ) as web:
        assert web.post(f"/v1/claims/{claim_id}/cancel", json={"why": "a wrong file"}).status_code == 200
    assert browser.post("/auth/logout").status_code == 204
    assert browser.me()["kind"] == "anonymous"
    with site.api.rows.database.reading() as session:
        events = session.execute(select(Event.actor, Event.subject, Event.what).order_by(Event.event_id)).all()
        (said,) = session.scalars(select(Event.why).where(Event.what == "signed_in"))
    assert said == "signed in with the Hub", "everybody reads it, and she may hide on the Hub what she administers"
    assert [tuple(event) for event in events] == [
        ("hub:alice", "user", "signed_in"),
        ("hub:alice", "claim", "blocked"),
        ("hub:alice", "user", "signed_out"),
    ]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_its_id_is_kept_as_a_hash(tmp_path: Path) -> None:
    with running_site(tmp_path, public_url="https://farm.test") as site:
        browser = Browser(site)
        # Over TLS only, so that this browser keeps it in hand.
        address = browser.get("/auth/login")
        begun = address.headers["set-cookie"]
        path = browser.agree(address.headers["location"], alice(site))
        answer = httpx2.get(site.api.url + path, headers={"cookie": begun.partition(";")[0]})
        cookie = answer.headers.get_list("set-cookie")[-1]
        with site.api.rows.database.reading() as session:
            stored = session.execute(text("SELECT * FROM session")).all()
    assert cookie.startswith("__Host-reprofarm-session=")
    for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
        assert attribute in begun.replace("Max-Age=600", "Max-Age=43200")
    assert "Domain" not in cookie
    assert cookie.partition("=")[2].partition(";")[0] not in repr(stored)


def test_an_answer_of_the_hub_counts_once_and_in_the_browser_that_asked(site: Site) -> None:
    token, browser = alice(site), Browser(site)
    path = browser.agree(browser.begin(), token)
    stranger = Browser(site)
    assert stranger.get(path).status_code == 400, "a victim who is sent another's answer"
    stranger.begin()
    assert stranger.get(path).status_code == 400, "even with a sign-in of their own under way"
    kept = httpx2.Cookies(browser.cookies)
    assert browser.get(path).status_code == 303
    replaying = Browser(site, kept)
    answer = replaying.get(path)
    assert answer.status_code == 400
    assert "used already" in answer.text
    assert stranger.me()["kind"] == replaying.me()["kind"] == "anonymous"


def test_a_sign_in_waits_ten_minutes_and_is_then_forgotten(site: Site) -> None:
    browser = Browser(site)
    path = browser.agree(browser.begin(), alice(site))
    with site.api.rows.database.transaction() as session:
        session.execute(update(SignIn).values(expires_at=now() - timedelta(seconds=1)))
    assert browser.get(path).status_code == 400
    Browser(site).begin()
    with site.api.rows.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SignIn)) == 1


def test_who_changes_their_mind_is_back_where_they_were(site: Site) -> None:
    browser = Browser(site)
    answer = browser.get(browser.agree(browser.begin("/claims?state=blocked"), "", answer="deny"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/claims?state=blocked")
    assert browser.me()["kind"] == "anonymous"


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("https://evil.test/", "//evil.test", "/\\evil.test", "\\\\evil.test", "evil.test", "javascript:alert(1)", ""),
        *("/%09/evil.test", "/%0d%0aset-cookie:x", "/a%5cb", "/ä", "/" + "a" * 2000),
    ],
)
def test_a_sign_in_leads_nowhere_else(shared_site: Site, elsewhere: str) -> None:
    answer = Browser(shared_site).get(f"/auth/login?next={elsewhere}")
    assert answer.status_code in (400, 422)
    assert "location" not in answer.headers


def test_signing_in_from_a_filtered_list_leads_back_to_it(shared_site: Site) -> None:
    page = Browser(shared_site).get("/claims?outcome=mismatch&q=a%26b")
    assert 'href="/auth/login?next=/claims%3Foutcome%3Dmismatch%26q%3Da%2526b"' in page.text


@pytest.mark.parametrize(
    ("path", "query", "back"),
    [
        ("/claims", "", "/claims"),
        ("/claims", "state=blocked&q=%C3%A4", "/claims?state=blocked&q=%C3%A4"),
        ("/claims", 'q=a\\b<c> d"\xe9', "/claims?q=a%5Cb%3Cc%3E%20d%22%C3%A9"),
        ("/models/a b", "", "/models/a%20b"),
        ("/", "//evil.test", "/?//evil.test"),
        ("//evil.test", "", "/"),
        ("/\\evil.test", "", "/%5Cevil.test"),
        ("evil.test", "x", "/"),
        ("/claims", "q=" + "a" * 3000, "/claims"),
        ("/auth/callback", "code=x&state=y", "/"),
    ],
)
def test_a_sign_in_leads_back_to_the_page_it_began_at_and_nowhere_else(path: str, query: str, back: str) -> None:
    address = sign_in.address(path, query)
    assert address.startswith("/auth/login?next=/")
    (next_path,) = parse_qs(urlsplit(address).query)["next"]
    assert next_path == back
    assert sign_in.own_path(next_path) == back


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as found:
        yield found


def test_the_hub_is_asked_with_state_nonce_and_a_challenge(shared_site: Site) -> None:
    asked = parse_qs(urlsplit(Browser(shared_site).begin()).query)
    again = parse_qs(urlsplit(Browser(shared_site).begin()).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid profile"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name][0]) == 43
        assert asked[name] != again[name]


def test_a_session_ends_with_its_time_and_when_the_operator_ends_it(site: Site) -> None:
    token = alice(site)
    browser, other = Browser(site), Browser(site)
    browser.sign_in(token)
    other.sign_in(token)
    with site.api.rows.database.transaction() as session:
        first = select(SignedIn.session_sha256).order_by(SignedIn.created_at).limit(1).scalar_subquery()
        past = now() - timedelta(seconds=1)
        session.execute(update(SignedIn).where(SignedIn.session_sha256 == first).values(expires_at=past))
    assert (browser.me()["kind"], other.me()["kind"]) == ("anonymous", "session")
    assert close_all_of(site.api.rows.database, "alice", "operator:ada") == 2
    assert other.me()["kind"] == "anonymous"


def test_what_acts_with_a_cookie_must_come_from_the_farms_own_pages(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in(alice(site))
    foreign: tuple[dict[str, str], ...] = (
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://farm.test.evil.test"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": "http://farm.test"},
        {},
    )
    with httpx2.Client(base_url=site.api.url, cookies=browser.cookies) as web:
        for headers in foreign:
            answer = web.post("/auth/logout", headers=headers)
            assert answer.status_code == 403, headers
            assert "own pages" in answer.json()["detail"]
    # As it comes from a browser, which keeps the cookie back.
    answer = httpx2.post(site.api.url + "/auth/logout", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.headers.get("set-cookie")) == (204, None)
    assert browser.me()["kind"] == "session"


def test_a_person_who_comes_to_a_closed_farm_is_sent_to_sign_in(tmp_path: Path) -> None:
    with running_site(tmp_path, public_reading=False, readers=("acme",)) as site:
        answer = httpx2.get(site.api.url + "/claims", headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/auth/login?next=/claims")
        filtered = "/claims?outcome=mismatch&q=a%26b+c"
        sent_on = httpx2.get(site.api.url + filtered, headers={"accept": "text/html"}).headers["location"]
        visitor = Browser(site)
        to_the_hub = visitor.get(sent_on).headers["location"]
        back = visitor.get(visitor.agree(to_the_hub, alice(site)))
        assert (back.status_code, back.headers["location"]) == (303, filtered)
        assert httpx2.get(site.api.url + "/v1/claims").status_code == 401
        member = Browser(site)
        member.sign_in(alice(site))
        assert member.get("/v1/claims").status_code == 200
        outsider = Browser(site)
        outsider.sign_in(site.hub.local.add_token("bob"))
        assert outsider.get("/v1/claims").status_code == 403
        assert outsider.me()["scopes"] == []


def test_an_operators_id_is_no_name_that_anybody_can_register(tmp_path: Path) -> None:
    ids = {name: subject_of(name) for name in ("alice", "bob")}
    with running_site(
        tmp_path, public_reading=False, operators=(f"id:{ids['alice']}",), readers=(f"id:{ids['bob']}",)
    ) as site:
        scopes = {}
        for name in ("alice", "bob", *ids.values()):
            browser = Browser(site)
            browser.sign_in(site.hub.local.add_token(name))
            scopes[name] = browser.me()["scopes"]
    assert scopes == {
        "alice": ["read", "request", "operate"],
        "bob": ["read", "request"],
        **{name: [] for name in ids.values()},
    }


def test_a_farm_without_an_application_on_the_hub_offers_no_sign_in(tmp_path: Path) -> None:
    with running_site(tmp_path, hub_oauth_client_id=None) as site:
        answer = Browser(site).get("/auth/login")
        assert answer.status_code == 404
        assert "Nobody can sign in here" in answer.text
        assert Browser(site).me()["sign_in"] is None


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/auth/login?next=//evil.test", 400, "has to be a path of this farm"),
        ("/auth/callback?code=x&state=unknown", 400, "not begun in this browser"),
        ("/auth/callback?error=server_error&state=unknown", 400, "not begun in this browser"),
        ("/auth/callback?code=x", 422, "query state: is missing"),
    ],
)
def test_what_went_wrong_with_a_sign_in_is_a_page_and_json_for_who_asks_for_it(
    shared_site: Site, path: str, status: int, said: str
) -> None:
    of_a_browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = httpx2.get(shared_site.api.url + path, headers={"accept": of_a_browser})
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said in page.text
    assert "You are not signed in" in page.text
    assert 'href="/auth/login?next=/"' in page.text, "to begin anew, and not to end where it went wrong"
    answer = httpx2.get(shared_site.api.url + path, headers={"accept": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in f"{answer.json()['detail']} {answer.json()['errors']}"


def test_a_hub_that_is_away_is_said_on_a_page(tmp_path: Path) -> None:
    with running_site(tmp_path, hub_endpoint="http://127.0.0.1:9") as site:
        answer = Browser(site).get("/auth/login")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert "the Hub does not answer" in answer.text


def test_a_refusal_that_is_no_change_of_mind_says_that_nobody_signed_in(site: Site) -> None:
    browser = Browser(site)
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    answer = browser.get(f"/auth/callback?error=server_error&state={state}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "the Hub gave no code" in answer.text
