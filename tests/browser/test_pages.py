"""Every page, as people have it: in light and dark, on a phone, by keyboard, without scripts, and read aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ShownFarm
from tests.browser.opening import opened

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
AXE_RULES = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]},
    # All else is as in light.
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
}
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'


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
            violations = page.evaluate("rules => axe.run(document, rules)", AXE_RULES[scheme])["violations"]
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


def test_without_javascript_a_page_says_what_is_missing_and_filters_by_a_button(
    browser: Browser, farm: ShownFarm
) -> None:
    words = "Plots, live updates, buttons and the check of a token need JavaScript; all else is here."
    with opened(browser, java_script_enabled=False) as page:
        for path in farm.pages.values():
            page.goto(farm.api.url + path)
            # By its text it would not be found: Playwright looks for none in a noscript.
            expect(page.locator("noscript p")).to_be_visible()
            assert page.locator("noscript p").text_content() == words
        page.goto(farm.api.url + "/claims")
        page.get_by_label("Verdict").select_option("mismatch")
        page.locator("noscript button", has_text="Apply").click()
        expect(page.locator("tbody .pill.mismatch").first).to_be_visible()
        expect(page.locator("tbody .pill.verified")).to_have_count(0)
    with opened(browser) as page:
        page.goto(farm.api.url + "/claims")
        expect(page.locator("noscript *")).to_have_count(0)


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


@pytest.mark.parametrize("tolerance", [0.02, None])
def test_a_running_claims_picture_has_the_tolerance_that_is_known(
    browser: Browser, farm: ShownFarm, tolerance: float | None
) -> None:
    rules = {"scale": "percent", "scale_source": "leaderboard", "claimed": 0.412, "tolerance": tolerance}
    claim_id = farm.api.rows.running("acme/half-way", rules=rules)
    drawn = """async () => {
        const { charts } = await import("/static/drawing.js");
        return [...charts.values()].flatMap((chart) => chart.data.datasets.map((each) => each.label));
    }"""
    with opened(browser) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        expect(page.locator(".data tbody tr")).to_have_count(1)
        assert page.evaluate(drawn).count("band") == (2 if tolerance else 0)
        expect(page.locator(".key .swatch.band")).to_have_count(1 if tolerance else 0)
        said = page.locator("canvas").get_attribute("aria-label") or ""
        assert ("tolerance" in said) is bool(tolerance)


def test_a_picture_for_which_too_many_ask_says_so_and_is_asked_for_again(browser: Browser, farm: ShownFarm) -> None:
    none, away = "No sample was scored.", "The farm did not say how the score closed in"
    with opened(browser, "status of 503") as page:
        page.route("**/trace?*", lambda route: route.fulfill(status=503, json={"title": "Service Unavailable"}))
        page.goto(farm.api.url + farm.pages["claim-verified"])
        expect(page.get_by_text(away)).to_be_visible()
        expect(page.get_by_text(none)).to_be_hidden()
        page.unroute("**/trace?*")
        page.get_by_role("button", name="Switch between light and dark").click()
        expect(page.locator("#trace tbody tr").nth(20)).to_be_attached()
        expect(page.get_by_text(away)).to_be_hidden()
        expect(page.locator("canvas[data-plot=closing]")).to_be_visible()
        page.route("**/trace?*", lambda route: route.fulfill(json={"points": []}))
        page.reload()
        expect(page.get_by_text(none)).to_be_visible()
        expect(page.get_by_text(away)).to_be_hidden()


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
