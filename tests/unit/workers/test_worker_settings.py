from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import PolicyError
from workers.settings import read_settings


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("pool: big\nhub_endpoint: http://hub.test\n")
    monkeypatch.setenv("REPROFARM_WORKER_SETTINGS_FILE", str(file))
    monkeypatch.setenv("REPROFARM_WORKER_POOL", "small")
    settings = read_settings()
    assert (settings.pool, settings.queue, settings.hub_endpoint) == ("small", "pool.small", "http://hub.test")


def test_an_unknown_key_in_the_file_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("poool: big\n")
    monkeypatch.setenv("REPROFARM_WORKER_SETTINGS_FILE", str(file))
    with pytest.raises(PolicyError, match="poool"):
        read_settings()


def test_a_wrong_value_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_WORKER_BROKER_URL", "redis://:hunter2@redis/0")
    monkeypatch.setenv("REPROFARM_WORKER_POOL", "Not A Name")
    with pytest.raises(PolicyError, match="pool") as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("REPROFARM_WORKER_POOL", "cpu")
    assert "hunter2" not in repr(read_settings())
