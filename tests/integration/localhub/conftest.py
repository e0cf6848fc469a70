"""A running local Hub and people who use it through the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.support.localhub import RunningHub, running_hub


@pytest.fixture(autouse=True)
def own_download_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that nobody filled before: the client falls back to it when the Hub refuses."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "downloads"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """An empty Hub."""
    with running_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def alice(hub: RunningHub) -> HfApi:
    """Somebody who owns the namespaces `alice` and `acme`."""
    return HfApi(endpoint=hub.url, token=hub.local.add_token("alice", orgs=("acme",)))


@pytest.fixture
def eve(hub: RunningHub) -> HfApi:
    """Somebody else, who may propose things."""
    return HfApi(endpoint=hub.url, token=hub.local.add_token("eve"))


@pytest.fixture
def nobody(hub: RunningHub) -> HfApi:
    """Somebody who did not log in."""
    return HfApi(endpoint=hub.url, token=False)
