from __future__ import annotations

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
