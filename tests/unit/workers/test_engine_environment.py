"""What an engine is told by its environment."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from workers.engines.cpu_executor import cpu_variables
from workers.engines.engine_environment import engine_environment, own_variables


def environment(
    tmp_path: Path, *, gpus: int = 1, batch_invariant: bool = False, sleeps: bool = False
) -> dict[str, str]:
    own = own_variables("a-key", gpus, kv_cache_gib=2, batch_invariant=batch_invariant, sleeps=sleeps)
    return {**engine_environment(tmp_path), **own}


def test_vllm_knows_every_variable_of_its_own_that_it_is_told(tmp_path: Path) -> None:
    vllm = find_spec("vllm")
    assert vllm is not None
    assert vllm.origin is not None
    # Read, not imported: that takes many seconds.
    known = re.findall(r'^    "(\w+)": ', Path(vllm.origin).with_name("envs.py").read_text(), re.MULTILINE)
    told = {*environment(tmp_path, sleeps=True), *environment(tmp_path, gpus=0)}
    assert {each for each in told if each.startswith("VLLM_")} <= set(known)


def test_no_engine_needs_a_cuda_toolkit_to_sample(tmp_path: Path) -> None:
    assert environment(tmp_path)["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_the_prompt_does_not_depend_on_the_day_whatever_the_workers_own_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SYSTEM_START_DATE", "2031-01-01")
    assert environment(tmp_path)["VLLM_SYSTEM_START_DATE"] == "2025-08-05"


def test_cuda_counts_gpus_as_their_driver_does_whatever_the_workers_own_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = environment(tmp_path)
    assert (found["CUDA_DEVICE_ORDER"], found["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "1")


def test_the_routes_that_ask_for_no_key_are_there_for_engines_that_sleep_alone(tmp_path: Path) -> None:
    assert "VLLM_SERVER_DEV_MODE" not in environment(tmp_path)
    assert environment(tmp_path, sleeps=True)["VLLM_SERVER_DEV_MODE"] == "1"


def test_an_engine_on_a_cpu_computes_in_its_cores_process_where_there_is_one_memory_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "node0").mkdir()
    (tmp_path / "has_memory").touch()
    found = cpu_variables(tmp_path)
    assert found["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert 1 <= int(found["OMP_NUM_THREADS"]) <= (os.cpu_count() or 1)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cpu_variables(tmp_path)["OMP_NUM_THREADS"] == "1", "a container may have less than its machine"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_variables(tmp_path)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    assert cpu_variables(tmp_path) == {}, "it is left to vLLM where somebody asks for that"
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING")
    (tmp_path / "node1").mkdir()
    assert cpu_variables(tmp_path) == {}, "vLLM binds its threads to the cores of one"


def test_an_engine_on_gpus_is_told_nothing_of_cpus(tmp_path: Path) -> None:
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in environment(tmp_path)


def test_an_engine_does_not_see_the_workers_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_WORKER_HUB_TOKEN", "hf_secret")
    assert not [each for each in environment(tmp_path).values() if "hf_secret" in each]
