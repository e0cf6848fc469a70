"""Every page, as people have it: in light and dark, on a phone, by keyboard, and read aloud."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, Page, Route, expect

from scheduler.access.sessions import close_all_of
from scheduler.badges.signing import Signer
from scheduler.database.tables import Badge, Claim, Reproduction, now
from scheduler.state_machine import ClaimState, ReproductionState
from tests.browser.conftest import ShownFarm
from tests.support.attestations import FACTS, forged, jwks
from tests.support.browser_sign_in import Browser as SignedInBrowser
from tests.support.browser_sign_in import running_site
from tests.support.callers import token
from tests.support.lively_farm import CAPITALS
from tests.support.waiting import PATIENCE_SECONDS

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page that must have nothing to complain about."""
    # The checker is put into pages from outside, which their policy rightly refuses; pages themselves are held to it.
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    try:
        yield page
    finally:
        context.close()
    assert [each for each in troubles if "status of 404" not in each] == []


def _run(farm: ShownFarm, reproduction_id: str) -> None:
    """A reproduction begins to run, and the record says so."""
    with farm.api.rows.database.transaction() as session:
        session.get_one(Reproduction, reproduction_id).state = ReproductionState.RUNNING
    farm.api.rows.event("reproduction", reproduction_id, "dispatched -> running")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_keeps_to_its_policy(
    browser: Browser, farm: ShownFarm, scheme: Literal["light", "dark"]
) -> None:
    checker = AXE.read_text()
    found: dict[str, Any] = {}
    with opened(browser, color_scheme=scheme, viewport={"width": 1280, "height": 900}) as page:
        for name, path in farm.pages.items():
            page.goto(farm.api.url + path)
            page.wait_for_load_state("load")
            # Evaluated by the browser's own tools, so that the page's policy stays as it is.
            page.evaluate(checker)
            rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
            violations = page.evaluate("rules => axe.run(document, rules)", rules)["violations"]
            found[name] = [(each["id"], each["nodes"][0]["html"][:200]) for each in violations]
    assert {name: violations for name, violations in found.items() if violations} == {}


def test_no_page_is_wider_than_a_phone(browser: Browser, farm: ShownFarm) -> None:
    wide: dict[str, int] = {}
    with opened(browser, viewport={"width": 360, "height": 780}) as page:
        for name, path in farm.pages.items():
            page.goto(farm.api.url + path)
            wide[name] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {name: by for name, by in wide.items() if by > 0} == {}


def test_without_javascript_no_empty_plot_is_shown(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser, java_script_enabled=False) as page:
        for name in ("overview", "claim-verified", "benchmark"):
            page.goto(farm.api.url + farm.pages[name])
            expect(page.locator(".plot").first).to_be_hidden()


def test_pictures_are_drawn_and_their_numbers_stand_in_a_table(browser: Browser, farm: ShownFarm) -> None:
    # Read from a copy: Chromium complains of a page's own canvas that is read several times.
    drawn = """canvas => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        return copy.getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
    }"""
    with opened(browser) as page:
        for name in ("overview", "claim-verified", "benchmark"):
            page.goto(farm.api.url + farm.pages[name])
            canvas = page.locator("canvas").first
            expect(canvas).to_have_js_property("hidden", False)
            for _ in range(600):
                if page.evaluate(f"({drawn})(document.querySelector('canvas'))"):
                    break
                page.wait_for_timeout(100)
            else:
                pytest.fail(f"nothing is drawn on {name}")
            assert canvas.get_attribute("role") == "img"
            assert canvas.get_attribute("aria-label")
        page.goto(farm.api.url + farm.pages["claim-verified"])
        expect(page.locator("#trace tbody tr").nth(20)).to_be_attached()
        page.locator("summary", has_text="The numbers").click()
        claim = farm.api.json(f"/v1/claims/{farm.claims['verified']}")
        reproduced = f"{100 * claim['verdict']['comparison']['reproduced']:.2f} %"
        expect(page.locator("#trace tbody tr").last).to_contain_text(reproduced)


def test_text_from_outside_is_shown_and_does_nothing(browser: Browser, farm: ShownFarm) -> None:
    claim_id = farm.api.rows.claim(
        "acme/model", notes=HOSTILE, submitter=HOSTILE[:90], source_url="javascript:document.title=3", reason=HOSTILE
    )
    with opened(browser) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.get_by_text(HOSTILE, exact=True).first).to_be_visible()
        assert page.title() == "acme/model on acme/capitals · reprofarm"
        assert page.locator("a[href^='javascript']").count() == 0
        expect(page.get_by_text("javascript:document.title=3")).to_be_visible()


def test_a_filter_applies_as_it_is_chosen_and_its_address_can_be_shared(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser) as page:
        page.goto(farm.api.url + "/claims")
        page.get_by_label("Verdict").select_option("mismatch")
        page.get_by_label("Benchmark", exact=True).fill(CAPITALS)
        page.wait_for_url(f"**/claims?outcome=mismatch&dataset={CAPITALS.replace('/', '%2F')}")
        expect(page.locator("tbody .pill.verified")).to_have_count(0)
        shown = page.locator("tbody tr").count()
        assert shown > 0
        page.goto(page.url)
        assert page.locator("tbody tr").count() == shown
        assert page.locator("tbody .pill.mismatch").count() == shown


def test_of_two_filters_the_later_one_stays_however_late_the_answer_to_the_first(
    browser: Browser, farm: ShownFarm
) -> None:
    with opened(browser) as page:
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/claims?outcome=mismatch", hold, times=1)
        page.goto(farm.api.url + "/claims")
        with page.expect_request("**/claims?outcome=mismatch"):
            page.get_by_label("Verdict").select_option("mismatch")
        page.get_by_label("Verdict").select_option("verified")
        page.wait_for_url("**/claims?outcome=verified")
        with page.expect_response("**/claims?outcome=mismatch"):
            held[0].continue_()
        page.wait_for_timeout(500)
        assert page.url.endswith("/claims?outcome=verified")
        expect(page.locator("tbody .pill.mismatch")).to_have_count(0)


def test_a_filter_stays_though_the_page_was_being_read_anew(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser) as page:
        page.goto(farm.api.url + "/claims")
        expect(page.locator(".live").first).to_have_text("Live")
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/claims", hold, times=1)
        with page.expect_request("**/claims"):
            farm.api.rows.event("claim", "a" * 32, "submitted")
        page.get_by_label("Verdict").select_option("verified")
        page.wait_for_url("**/claims?outcome=verified")
        with page.expect_response("**/claims"):
            held[0].continue_()
        page.wait_for_timeout(500)
        assert page.locator("tbody .pill.mismatch").count() == 0


def test_a_filter_that_the_farm_does_not_answer_leaves_the_page(browser: Browser, farm: ShownFarm) -> None:
    # The browser's console says that the farm refused, which is no fault of the page's.
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(farm.api.url + "/claims")
        page.route("**/claims?*", lambda route: route.fulfill(status=429, json={"detail": "too many"}), times=1)
        shown = page.locator("tbody tr").count()
        page.get_by_label("Verdict").select_option("mismatch")
        expect(page.get_by_text("The filter was not applied: the farm answered 429")).to_be_visible()
        assert page.locator("tbody tr").count() == shown
        assert page.url.endswith("/claims")


def test_a_page_asks_now_and_then_where_events_do_not_come_through(browser: Browser, farm: ShownFarm) -> None:
    # Some proxies end streams. The browser's console says so, which is no fault of the page's.
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/v1/events?*", lambda route: route.fulfill(status=503, body="no streams here"))
        page.goto(farm.api.url + "/claims?q=late-comer")
        expect(page.locator(".live").first).to_have_text("Checks every 5 s")
        expect(page.get_by_text("No claim fits")).to_be_visible()
        farm.api.rows.claim("late-comer/model")
        expect(page.get_by_role("link", name="late-comer/model")).to_be_visible(timeout=60_000)


def test_what_happens_before_a_page_follows_is_shown(browser: Browser, farm: ShownFarm) -> None:
    claim_id = farm.api.rows.planned("early-riser/model")
    with opened(browser) as page:

        def run_first(route: Route) -> None:
            _run(farm, farm.api.rows.run_of(claim_id))
            route.continue_()

        page.route("**/v1/events?*", run_first, times=1)
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.locator(".top .pill.running")).to_be_visible()


def test_what_happens_while_a_page_is_read_anew_is_shown(browser: Browser, farm: ShownFarm) -> None:
    claim_id = farm.api.rows.claim("soon-planned/model")
    run = farm.api.rows.reproduction("soon-planned/model")
    with opened(browser) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.locator(".live").first).to_have_text("Live")

        def run_meanwhile(route: Route) -> None:
            # The answer says which run it is; that this run has begun comes before the page has that answer.
            answer = route.fetch()
            _run(farm, run)
            time.sleep(0.5)
            route.fulfill(response=answer)

        page.route(f"**/claims/{claim_id}", run_meanwhile, times=1)
        with farm.api.rows.database.transaction() as session:
            claim = session.get_one(Claim, claim_id)
            claim.state, claim.reproduction_id = ClaimState.PLANNED, run
        farm.api.rows.event("claim", claim_id, "submitted -> planned")
        expect(page.locator(".top .pill.running")).to_be_visible()


def test_a_page_tries_again_where_the_farm_could_not_answer(browser: Browser, farm: ShownFarm) -> None:
    claim_id = farm.api.rows.planned("once-refused/model")
    # The browser's console says that the farm was away, which is no fault of the page's.
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.locator(".live").first).to_have_text("Live")
        page.route(f"**/claims/{claim_id}", lambda route: route.fulfill(status=503, body="away"), times=1)
        _run(farm, farm.api.rows.run_of(claim_id))
        expect(page.locator(".top .pill.running")).to_be_visible()


def test_a_page_says_since_when_the_farm_does_not_answer(browser: Browser, farm: ShownFarm) -> None:
    # The browser's console says that the farm was away, which is no fault of the page's.
    with browser.new_context(viewport={"width": 360, "height": 780}) as context:
        page = context.new_page()
        page.route("**/v1/events?*", lambda route: route.abort())
        page.goto(f"{farm.api.url}/claims?q=after-a-while")
        live = page.locator(".live").first
        expect(live).to_have_text("Checks every 5 s")
        page.route("**/claims?*", lambda route: route.abort())
        expect(live).to_have_text(re.compile(r"^No answer since \d\d:\d\d$"))
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.unroute("**/claims?*")
        expect(live).to_have_text("Checks every 5 s")
        page.unroute("**/v1/events?*")


def test_a_page_of_a_closed_farm_says_that_the_sign_in_has_ended(browser: Browser, tmp_path: Path) -> None:
    with running_site(tmp_path, public_reading=False, readers=("*",)) as site, browser.new_context() as context:
        reader = SignedInBrowser(site)
        reader.sign_in(site.hub.local.add_token("alice"))
        for name, value in reader.cookies.items():
            context.add_cookies([{"name": name, "value": value, "url": site.api.url}])
        page = context.new_page()
        page.goto(f"{site.api.url}/audit")
        expect(page.locator(".live").first).to_have_text("Live")
        close_all_of(site.api.rows.database, "alice", "operator:ada")
        site.api.rows.event("claim", "abcdef", "submitted")
        expect(page.locator(".live").first).to_have_text("Signed out: reload")


def test_the_theme_that_was_chosen_stays(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser, color_scheme="light") as page:
        page.goto(farm.api.url)
        page.get_by_role("button", name="Switch between light and dark").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.goto(farm.api.url + "/claims")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_keyboard_reaches_the_content_first(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser) as page:
        page.goto(farm.api.url + "/claims")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_answers_can_be_read_in_inspects_own_viewer(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser, viewport={"width": 1280, "height": 900}) as page:
        page.goto(farm.api.url + farm.pages["claim-verified"])
        page.get_by_role("link", name="Read the answers").click()
        expect(page.get_by_text("Lagos").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("Canberra").first).to_be_visible()


def test_a_token_is_checked_in_the_page(browser: Browser, farm: ShownFarm) -> None:
    badge = farm.api.json(f"/v1/claims/{farm.claims['verified']}/badge")
    token, keys = badge["token"], farm.api.json("/.well-known/jwks.json")
    with opened(browser) as page:
        page.goto(farm.api.url + farm.pages["claim-verified"])
        page.get_by_role("link", name="Verify the token here").click()
        expect(page.get_by_text("The token is genuine")).to_be_visible()
        expect(page.get_by_text("Not on this farm's list of revocations")).to_be_visible()
        expect(page.get_by_text(badge["payload"]["model"]).first).to_be_visible()
        for fact in ("spec_sha256", "policy_sha256", "evidence_url", "model_revision", "jti"):
            expect(page.locator("#result")).to_contain_text(badge["payload"][fact])

        page.route("**/v1/revocations*", lambda route: route.fulfill(status=404))
        verify(page, token)
        expect(page.get_by_text("The token is signed by this farm, and may be revoked")).to_be_visible()
        page.unroute("**/v1/revocations*")

        header, payload, signature = token.split(".")
        other = "A" if payload[40] != "A" else "B"
        verify(page, f"{header}.{payload[:40]}{other}{payload[41:]}.{signature}")
        expect(page.get_by_text("it was altered, or signed by another key")).to_be_visible()

        page.get_by_text("Use saved keys").click()
        verify(page, token, json.dumps(keys))
        expect(page.get_by_text("The token fits the keys that you pasted")).to_be_visible()
        verify(page, token, '{"keys": []}')
        expect(page.get_by_text("not among the trusted keys")).to_be_visible()
        verify(page, "not a token", "")
        expect(page.get_by_text("not a compact JWS")).to_be_visible()

        with farm.api.rows.database.transaction() as session:
            row = session.get_one(Badge, farm.claims["verified"])
            row.revoked_at, row.revoked_reason = now(), "the weights were swapped"
        verify(page, token)
        expect(page.get_by_text("the weights were swapped")).to_be_visible()


def test_an_operator_revokes_a_badge_for_a_reason_and_nobody_else_may(browser: Browser, farm: ShownFarm) -> None:
    verified = farm.api.json("/v1/claims", state="decided", outcome="verified", limit=200)["items"]
    claim = next(each for each in verified if each["badge"] and each["id"] != farm.claims["verified"])
    claim_id = claim["id"]
    maintainer = token(farm.api, "maintainer", "request", (claim["model"].partition("/")[0],))
    with opened(browser, extra_http_headers=maintainer) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.get_by_role("button", name="Verify again")).to_be_visible()
        assert page.get_by_role("button", name="Revoke").count() == 0
    with opened(browser, extra_http_headers=token(farm.api, "ops", "operate")) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        page.get_by_role("button", name="Revoke").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("There is no way back.")
        dialog.get_by_role("button", name="Not now").click()
        assert farm.api.json(f"/v1/claims/{claim_id}/badge")["revoked"] is False

        page.get_by_role("button", name="Revoke").click()
        dialog.get_by_label("Why?").fill("its log was made up")
        dialog.get_by_role("button", name="Revoke").click()
        expect(page.locator(".toast")).to_contain_text("is revoked, and listed as such")
        expect(page.locator(".top .pill.revoked")).to_be_visible()
        expect(page.get_by_text("Revoked: its log was made up")).to_be_visible()
        assert page.get_by_role("button", name="Revoke").count() == 0
    badge = farm.api.json(f"/v1/claims/{claim_id}/badge")
    revocation = next(each for each in farm.api.json("/v1/revocations")["items"] if each["badge_id"] == badge["id"])
    assert revocation["reason"] == "its log was made up"
    assert farm.api.json("/v1/events", subject="badge", subject_id=badge["id"])["items"][-1]["actor"] == "token:ops"


def test_a_token_by_keys_of_anybodys_is_held_to_its_own_figures_in_the_page(browser: Browser, farm: ShownFarm) -> None:
    key = Ed25519PrivateKey.generate()
    signer = Signer(key)
    keys = json.dumps(jwks(signer))
    kid = str(signer.public_jwk["kid"])
    odd: list[dict[str, Any]] = [
        {"tolerance": 2.0},
        {"tolerance": "0.08"},
        {"claimed": None},
        {"reproduced": [0.4]},
        {"samples_used": "1"},
        {"failed": -1},
        {"scale": "permille"},
        {"interval": {"low": "0.4", "high": 0.4}},
        {"claimed_value": 10**400},
    ]
    with opened(browser) as page:
        for number, change in enumerate(odd):
            # A page anew, as one answer looks like the next, and one that already answers.
            page.goto(f"{farm.api.url}/verify?{number}#token=none")
            expect(page.get_by_text("not a compact JWS")).to_be_visible()
            page.get_by_text("Use saved keys").click()
            verify(page, forged(key, kid, {**FACTS, **change}), keys)
            expect(page.get_by_text("It is signed, but")).to_be_visible()
        verify(page, forged(key, kid, {**FACTS, "samples_used": 140, "failed": 10}), keys)
        expect(page.get_by_text("140 of 150 (10 more failed and are left out), sequential, seed 7")).to_be_visible()
        verify(page, forged(key, kid, {**FACTS, "iss": "https://f\u0430rm.example", "model": "a/\u202eb"}), keys)
        expect(page.get_by_text("The token fits the keys that you pasted")).to_be_visible()
        expect(page.get_by_text(r"https://f\u{430}rm.example")).to_be_visible()
        expect(page.get_by_text("a/\ufffdb", exact=False)).to_be_visible()


def verify(page: Page, token: str, jwks: str | None = None) -> None:
    page.get_by_role("textbox", name="Token").fill(token)
    if jwks is not None:
        page.get_by_label("Keys, as a JWKS").fill(jwks)
    page.get_by_role("button", name="Verify").click()
