"""An open page shows what happens on the farm, and says so where it cannot."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from scheduler.access.sessions import close_all_of
from scheduler.database.tables import Claim, Reproduction, Worker
from scheduler.state_machine import ClaimState, ReproductionState
from tests.browser.conftest import ShownFarm
from tests.browser.opening import opened
from tests.support.browser_sign_in import Browser as SignedInBrowser
from tests.support.browser_sign_in import running_site

BEHIND = """
// Playwright takes every page for one that is looked at.
window.behind = location.search.includes("behind");
Object.defineProperty(document, "hidden", { get: () => window.behind });
"""
CONNECTIONS = 6
"""That a browser has to one farm over plain HTTP, for all of its pages."""


def _put(page: Page, *, behind: bool) -> None:
    """Another page is looked at, or this one again."""
    page.evaluate("behind => { window.behind = behind; window.dispatchEvent(new Event('visibilitychange')); }", behind)


def _run(farm: ShownFarm, reproduction_id: str) -> None:
    """A reproduction begins to run, and the record says so."""
    with farm.api.rows.database.transaction() as session:
        session.get_one(Reproduction, reproduction_id).state = ReproductionState.RUNNING
    farm.api.rows.event("reproduction", reproduction_id, "dispatched -> running")


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


def test_a_page_that_follows_shows_also_what_changes_without_an_event(browser: Browser, farm: ShownFarm) -> None:
    with opened(browser) as page:
        page.clock.install()
        page.goto(f"{farm.api.url}/workers")
        expect(page.locator(".live").first).to_have_text("Live")
        with farm.api.rows.database.transaction() as session:
            worker = session.get_one(Worker, "gpu-a100-1@node-3")
            worker.engine = {**(worker.engine or {}), "tokens_per_second": 777.0}
        page.clock.fast_forward("00:31")
        expect(page.get_by_role("cell", name="777", exact=True)).to_be_visible()


def test_the_picture_of_a_run_begins_anew_with_its_next_attempt(browser: Browser, farm: ShownFarm) -> None:
    claim_id = farm.api.rows.running("begun-again/model")
    run = farm.api.rows.run_of(claim_id)
    with opened(browser) as page:
        page.goto(f"{farm.api.url}/claims/{claim_id}")
        rows = page.locator("figure .data tbody tr")
        expect(rows).to_have_text([re.compile("^120")])
        expect(page.locator(".live").first).to_have_text("Live")
        farm.api.rows.attempt(run, 3, worker="w2@host", stage="running", samples_done=30, samples_total=300, score=0.9)
        with farm.api.rows.database.transaction() as session:
            session.get_one(Reproduction, run).attempt = 3
        farm.api.rows.event("reproduction", run, "dispatched -> running")
        expect(page.locator("canvas[data-plot=live]")).to_have_attribute("data-attempt", "3")
        expect(rows).to_have_text([re.compile("^30")])


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


@pytest.mark.parametrize("away", ["refuses", "is-silent"])
def test_a_page_says_since_when_the_farm_does_not_answer(browser: Browser, farm: ShownFarm, away: str) -> None:
    # The browser's console says that the farm was away, which is no fault of the page's.
    with browser.new_context(viewport={"width": 360, "height": 780}) as context:
        # Else the test waits as long as a page does.
        context.add_init_script("const timeout = AbortSignal.timeout; AbortSignal.timeout = () => timeout(1000);")
        page = context.new_page()
        page.route("**/v1/events?*", lambda route: route.abort())
        page.goto(f"{farm.api.url}/claims?q=after-a-while")
        live = page.locator(".live").first
        expect(live).to_have_text("Checks every 5 s")
        page.route("**/claims?*", lambda route: route.abort() if away == "refuses" else None)
        expect(live).to_have_text(re.compile(r"^No answer since \d\d:\d\d$"))
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.unroute("**/claims?*")
        expect(live).to_have_text("Checks every 5 s")
        page.unroute("**/v1/events?*")


def test_pages_that_nobody_looks_at_keep_no_other_from_the_farm(browser: Browser, farm: ShownFarm) -> None:
    with browser.new_context() as context:
        context.add_init_script(BEHIND)
        first = context.new_page()
        first.goto(f"{farm.api.url}/claims?q=looked-at-again")
        expect(first.locator(".live").first).to_have_text("Live")
        _put(first, behind=True)
        for _ in range(CONNECTIONS):
            context.new_page().goto(f"{farm.api.url}/claims?q=behind")
        last = context.new_page()
        last.goto(f"{farm.api.url}/audit")
        expect(last.locator(".live").first).to_have_text("Live")

        farm.api.rows.claim("looked-at-again/model")
        _put(last, behind=True)
        _put(first, behind=False)
        expect(first.get_by_role("link", name="looked-at-again/model")).to_be_visible()
        expect(first.locator(".live").first).to_have_text("Live")
        farm.api.rows.event("claim", farm.api.rows.claim("looked-at-again/another"), "submitted")
        expect(first.get_by_role("link", name="looked-at-again/another")).to_be_visible()


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
