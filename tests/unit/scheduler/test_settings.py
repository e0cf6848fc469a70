"""The control plane's settings, as an environment has them."""

from __future__ import annotations

import pytest

from scheduler.settings import PREFIX, read_settings

OPTIONAL = (
    *("hub_token", "hub_webhook_secret", "hub_oauth_client_id", "hub_oauth_client_secret"),
    *("policy", "liveness_file"),
)


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_set_to_nothing_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), "")
    assert getattr(read_settings(), name) is None


def test_no_origins_are_not_all_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "API_ORIGINS", "")
    assert not read_settings().api_origins
