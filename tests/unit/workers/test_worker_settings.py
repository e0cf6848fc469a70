from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import PolicyError
from workers.settings import read_settings


def test_a_wrong_value_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_WORKER_BROKER_URL", "redis://:hunter2@redis/0")
    monkeypatch.setenv("REPROFARM_WORKER_POOL", "Not A Name")
    with pytest.raises(PolicyError, match="REPROFARM_WORKER_POOL: ") as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("REPROFARM_WORKER_POOL", "cpu")
    assert "hunter2" not in repr(read_settings())


def test_folders_are_seen_from_where_the_worker_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPROFARM_WORKER_STATE_FOLDER", "state")
    monkeypatch.setenv("REPROFARM_WORKER_CACHE_FOLDER", "../cache")
    settings = read_settings()
    assert settings.state_folder == tmp_path / "state"
    assert settings.cache_folder == tmp_path / "../cache"
