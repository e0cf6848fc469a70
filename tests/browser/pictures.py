"""`make screenshots`: every page in light, dark and phone width, of a farm with something in every state."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, FloatRect, sync_playwright

from scheduler.badges.signing import Signer
from tests.browser.chromium import launched
from tests.support.api import running_api
from tests.support.inspect_logs import inspect_log
from tests.support.lively_farm import CAPITALS, MODELS, LivelyFarm

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "pictures"
SHOWN_FOLDER = ROOT / "docs" / "images" / "dashboard"
SHOWN = ("overview-light.png", "claim-verified-light.png", "benchmark-dark.png")
"""Those that the documentation shows; git keeps no others."""

Look = tuple[Literal["light", "dark"], int, int]
"""Theme, width and height."""

LOOKS: dict[str, Look] = {"light": ("light", 1280, 900), "dark": ("dark", 1280, 900), "phone": ("light", 390, 844)}
PHONE_CLIP: FloatRect = {"x": 0, "y": 0, "width": 390, "height": 1500}
"""Pages are long there; this much shows how they look."""


def pages_of(found: dict[str, str]) -> dict[str, str]:
    """Addresses by the name of their picture."""
    return {
        "overview": "/",
        "claims": "/claims",
        "claim-verified": f"/claims/{found['verified']}",
        "claim-mismatch": f"/claims/{found['mismatch']}",
        "claim-running": f"/claims/{found['running']}",
        "claim-blocked": f"/claims/{found['blocked']}",
        "benchmarks": "/benchmarks",
        "benchmark": f"/benchmarks/{CAPITALS}",
        "model": f"/models/{MODELS[1][0]}",
        "workers": "/workers",
        "audit": "/audit",
        "verify": "/verify",
        "not-found": "/claims/abcdef",
    }


def take(browser: Browser, url: str, pages: dict[str, str], folder: Path, looks: dict[str, Look]) -> None:
    """Write a picture of each page in each look."""
    for look, (scheme, width, height) in looks.items():
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
        )
        for name, path in pages.items():
            page = context.new_page()
            page.goto(url + path)
            page.wait_for_timeout(800)
            shrunk(page.screenshot(full_page=look == "phone", clip=PHONE_CLIP if look == "phone" else None)).save(
                folder / f"{name}-{look}.png", optimize=True
            )
            page.close()
        context.close()


def shrunk(picture: bytes) -> Image.Image:
    """With 256 colours, rare ones among them: a third of the bytes, and looks the same."""
    return (
        Image.open(io.BytesIO(picture))
        .convert("RGB")
        .quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )


def main() -> None:
    """Take them all, or those whose names are given."""
    wanted = sys.argv[1:]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        said = [["Canberra"], ["Ottawa"], ["Bern"], ["Lagos"]] * 12
        log = inspect_log(folder / "log", ["Canberra", "Ottawa", "Bern", "Abuja"] * 12, said)
        with running_api(folder) as api, launched(playwright) as browser:
            api.rows.signer = Signer.create(api.settings.signing_key)
            pages = pages_of(LivelyFarm(api.rows, folder / "evidence", log).fill())
            if wanted:
                pages = {name: path for name, path in pages.items() if name in wanted}
            take(browser, api.url, pages, FOLDER, LOOKS)
    for name in SHOWN:
        if (FOLDER / name).exists():
            shutil.copy(FOLDER / name, SHOWN_FOLDER)


if __name__ == "__main__":
    main()
