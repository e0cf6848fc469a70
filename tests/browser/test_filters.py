"""The filters of the list of claims, however late the farm answers."""

from __future__ import annotations

from playwright.sync_api import Browser, Route, expect

from tests.browser.conftest import ShownFarm
from tests.browser.opening import opened
from tests.support.lively_farm import CAPITALS


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
