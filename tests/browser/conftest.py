from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need the extra `dev`")

from playwright.sync_api import Browser, expect, sync_playwright  # noqa: E402 - after the skip

from scheduler.badges.signing import Signer  # noqa: E402
from tests.browser.chromium import NO_CHROMIUM, chromium, launched  # noqa: E402
from tests.browser.pictures import pages_of  # noqa: E402
from tests.support.api import RunningApi, running_api  # noqa: E402
from tests.support.inspect_logs import inspect_log  # noqa: E402
from tests.support.lively_farm import LivelyFarm  # noqa: E402
from tests.support.waiting import PATIENCE_SECONDS  # noqa: E402

# Five seconds, unless said otherwise, are too few for a page on a busy machine.
expect.set_options(1000 * PATIENCE_SECONDS)


# Of a module, not of the session: as long as Playwright's loop is there, no other test can run one of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright, launched(playwright) as found:
        yield found


@dataclass(frozen=True)
class ShownFarm:
    """A farm with something in every state, and where its pages are."""

    api: RunningApi
    pages: dict[str, str]
    claims: dict[str, str]


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShownFarm]:
    folder = tmp_path_factory.mktemp("farm")
    log = inspect_log(folder / "log", ["Canberra", "Abuja"], [["Canberra"], ["Lagos"]])
    with running_api(folder) as api:
        api.rows.signer = Signer.create(api.settings.signing_key)
        claims = LivelyFarm(api.rows, folder / "evidence", log).fill(days=4)
        yield ShownFarm(api, pages_of(claims), claims)
