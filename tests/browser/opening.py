"""A page in the browser of the tests, which must have nothing to complain about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.waiting import PATIENCE_SECONDS

BORNE = ("status of 404", "was preloaded using link preload but not used within a few seconds")
"""What says nothing of a page: it has links to what is not there, or the machine is too busy to draw it."""


@contextmanager
def opened(browser: Browser, *borne: str, **options: Any) -> Iterator[Page]:
    """A new one; `options` are those of its context. What its console says, but for `borne`, fails the test."""
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
    assert [each for each in troubles if not any(part in each for part in (*BORNE, *borne))] == []
