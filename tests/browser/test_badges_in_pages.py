"""Badges on the pages: a token is checked in the browser, and an operator revokes one."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, Page, expect

from scheduler.badges.signing import Signer
from scheduler.database.tables import Badge, now
from tests.browser.chromium import ELSEWHERE
from tests.browser.conftest import ShownFarm
from tests.browser.opening import opened
from tests.support.attestations import FACTS, forged, jwks
from tests.support.callers import token


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


def test_no_token_is_sent_by_a_page_that_is_not_there_yet(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser, "ERR_FAILED", "dynamically imported module") as page:
        page.route("**/verify.js*", lambda route: route.abort())
        page.goto(f"{farm.api.url}/verify")
        expect(page.get_by_role("button", name="Verify")).to_be_disabled()
        page.unroute("**/verify.js*")
        page.reload()
        expect(page.get_by_role("button", name="Verify")).to_be_enabled()


def test_a_token_that_could_not_be_checked_is_not_called_invalid(browser: Browser, farm: ShownFarm) -> None:
    token = farm.api.json(f"/v1/claims/{farm.claims['verified']}/badge")["token"]
    could_not = "It could not be checked"
    with opened(browser, "status of 429", "ERR_FAILED") as page:
        page.route("**/jwks.json", lambda route: route.fulfill(status=429))
        page.goto(f"{farm.api.url}/verify")
        verify(page, token)
        expect(page.locator("#result .callout.blocked")).to_contain_text(could_not)
        expect(page.locator("#result")).to_contain_text("it answered 429")
        page.unroute("**/jwks.json")
        page.route("**/jwks.json", lambda route: route.abort())
        page.reload()
        verify(page, token)
        expect(page.locator("#result .callout.blocked")).to_contain_text(could_not)
        page.get_by_text("Use saved keys").click()
        verify(page, token, "{")
        expect(page.locator("#result .callout.blocked")).to_contain_text("are not JSON")


def test_a_page_over_plain_http_of_another_machine_offers_nothing_that_its_browser_has_not(
    browser: Browser, farm: ShownFarm
) -> None:
    badge = farm.api.json(f"/v1/claims/{farm.claims['verified']}/badge")
    elsewhere = farm.api.url.replace("127.0.0.1", ELSEWHERE)
    # That a header counts for nothing there is what the browser's console says.
    with opened(browser, "origin was untrustworthy") as page:
        page.goto(elsewhere + farm.pages["claim-verified"])
        expect(page.locator(".live").first).to_have_text("Live")
        expect(page.locator(".copy:visible")).to_have_count(0)
        page.goto(f"{elsewhere}/verify#token={badge['token']}")
        expect(page.locator("#result .callout.blocked")).to_contain_text("only on pages over HTTPS")
        page.goto(farm.api.url + farm.pages["claim-verified"])
        expect(page.locator(".copy:visible")).not_to_have_count(0)


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
