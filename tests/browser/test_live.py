"""A maintainer signs in, has a claim verified again, watches it run, reads the verdict, and checks the token."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.real_farm import MODEL, SAMPLES, watched_farm
from tests.support.waiting import PROCESS_PATIENCE_SECONDS

pytest.importorskip("psutil", reason="workers need the extra `run`")

PATIENCE = 1000 * PROCESS_PATIENCE_SECONDS


def test_a_verification_is_asked_for_and_watched_to_its_verdict(browser: Browser, tmp_path: Path) -> None:
    with watched_farm(tmp_path) as farm:
        farm.start_worker(slow_seconds=0.75)
        farm.hurry.touch()
        farm.wait(lambda: [each["state"] for each in farm.claims()] == ["decided"])
        farm.hurry.unlink()
        first = str(farm.claims()[0]["id"])
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{farm.url}/claims/{first}")
        assert page.get_by_role("button", name="Verify again").count() == 0

        page.get_by_role("link", name="Sign in").last.click()
        page.get_by_label("An access token of yours").fill(farm.token)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{farm.url}/claims/{first}")

        # Else a busy machine may have a page there only when the run is over.
        farm.hold.touch()
        page.get_by_role("button", name="Verify again").click()
        page.get_by_label("Why?").fill("after the fix of the tokenizer")
        page.get_by_role("dialog").get_by_role("button", name="Verify again").click()
        page.wait_for_url(lambda url: "/claims/" in url and not url.endswith(first))
        expect(page.locator(".live")).to_have_text("Live")
        page.evaluate("window.never_left = true")

        # The page is never loaded again: what it shows came by the events.
        expect(page.locator(".top .pill.running")).to_be_visible(timeout=PATIENCE)
        farm.hold.unlink()
        done = f"document.querySelector('progress[max=\"{SAMPLES}\"]')?.value ?? 0"
        farm.wait(lambda: page.evaluate(done) > 4)
        first_seen = page.evaluate(done)
        farm.wait(lambda: page.evaluate(done) > first_seen)
        expect(page.get_by_label("The score as heard", exact=False)).to_be_visible()
        farm.hurry.touch()

        expect(page.locator(".top .pill.verified")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("100.00 %").first).to_be_visible()
        assert page.evaluate("window.never_left") is True

        page.get_by_role("link", name="Verify the token here").click()
        expect(page.get_by_text("The token is genuine")).to_be_visible()
        expect(page.locator("#result").get_by_text(MODEL)).to_be_visible()

        page.goto(f"{farm.url}/audit")
        expect(page.get_by_text("hub:tiny").first).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
