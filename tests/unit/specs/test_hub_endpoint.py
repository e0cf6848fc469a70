from __future__ import annotations

from typing import Any

import pytest

import scheduler.settings
import workers.settings
from specs.errors import PolicyError

BOTH = pytest.mark.parametrize("side", [scheduler.settings, workers.settings], ids=["control plane", "worker"])


@BOTH
def test_a_slash_at_the_end_is_no_part_of_the_hubs_address(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(side.PREFIX + "HUB_ENDPOINT", "https://hub.test/")
    assert side.read_settings().hub_endpoint == "https://hub.test"


@BOTH
@pytest.mark.parametrize("value", ["hub.test", "ftp://hub.test", "https://", "https://hub.test\r", "http://[::1"])
def test_what_is_no_address_is_said_at_the_start(side: Any, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(side.PREFIX + "HUB_ENDPOINT", value)
    with pytest.raises(PolicyError, match=f"{side.PREFIX}HUB_ENDPOINT: "):
        side.read_settings()
