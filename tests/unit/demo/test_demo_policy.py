"""What the demo's farm runs on."""

from __future__ import annotations

import pytest

from deploy.demo import run
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy


def test_the_demo_runs_on_one_gpu_where_the_engine_has_no_use_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = PoolRules(name="gpu", gpus=8, memory_gib=79.1, compute_capability=9)
    monkeypatch.setattr(run, "gpu_pool", lambda: gpus)
    found = Policy.model_validate(run._policy(), strict=False)
    assert found.pools == (gpus.model_copy(update={"gpus": 1}),)
    monkeypatch.setattr(run, "gpu_pool", lambda: None)
    assert Policy.model_validate(run._policy(), strict=False).pools[0].device == "cpu"
