"""Debian's Chromium, headless."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright

START_MILLISECONDS = 180_000
ELSEWHERE = "farm.test"
"""This machine, by a name that a browser takes for another one's."""

NO_CHROMIUM = "no chromium on the PATH; install Debian's package of that name"


def chromium() -> str | None:
    """Where it is; None where it is not installed."""
    return shutil.which("chromium")


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """A running browser."""
    # Its sandbox wants rights that containers and root do not have; it opens nothing but the farm under test.
    options = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
    browser = playwright.chromium.launch(executable_path=chromium(), args=options, timeout=START_MILLISECONDS)
    try:
        yield browser
    finally:
        browser.close()
