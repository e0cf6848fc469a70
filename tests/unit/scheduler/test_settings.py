"""The control plane's settings, as an environment has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.api.app import create_app_from_environment
from scheduler.control_worker.process import farm
from scheduler.settings import PREFIX, read_settings
from specs.errors import PolicyError

OPTIONAL = (
    *("hub_token", "hub_webhook_secret", "hub_oauth_client_id", "hub_oauth_client_secret"),
    *("policy", "liveness_file"),
)


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_set_to_nothing_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), "")
    assert getattr(read_settings(), name) is None


@pytest.mark.parametrize("start", [create_app_from_environment, farm.__wrapped__])
def test_a_process_with_a_policy_that_is_none_ends_as_it_starts(
    start: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nwach: {}\n")
    for name, value in (("POLICY", str(file)), ("DATABASE_URL", "sqlite://")):
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(PolicyError, match=f"{file}: wach"):
        start()


def test_no_origins_are_not_all_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "API_ORIGINS", "")
    assert not read_settings().api_origins


@pytest.mark.parametrize("name", ["OPERATORS", "READERS"])
def test_an_id_is_no_name_that_anybody_can_register(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name, "ada, 63f9c2d7a1b2c3d4e5f60718")
    with pytest.raises(PolicyError, match=f"{PREFIX}{name}: has what looks like an id .* write id: before it"):
        read_settings()
    monkeypatch.setenv(PREFIX + name, "ada, id:63f9c2d7a1b2c3d4e5f60718")
    assert getattr(read_settings(), name.lower()) == ("ada", "id:63f9c2d7a1b2c3d4e5f60718")


@pytest.mark.parametrize(
    ("url", "why"), [("gs://bucket/evidence", "Please install gcsfs"), ("s4://bucket/evidence", "no store that fsspec")]
)
def test_a_store_that_this_process_cannot_read_is_no_setting(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "EVIDENCE_URL", url)
    with pytest.raises(PolicyError, match=f"(?i)REPROFARM_EVIDENCE_URL.*{why}"):
        read_settings()


@pytest.mark.parametrize("url", ["s3://bucket/evidence", "hf://datasets/o/d", "file:///evidence", "var/evidence"])
def test_a_store_that_this_process_can_read_is_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "EVIDENCE_URL", url)
    assert read_settings().evidence_url == url
