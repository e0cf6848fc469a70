"""The real engine with a real small model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from specs.generation import GenerationSettings
from specs.messages import AttemptOutcome
from specs.policy import EngineRules
from tests.support.capitals import capitals_dataset
from tests.support.small_repos import COMMIT, task_ref
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run
from workers.engine import VLLM_COMMAND
from workers.generation import VLLM_DEFAULTS

pytestmark = pytest.mark.e2e

RULES = EngineRules(enforce_eager=True, max_model_len=2048, kv_cache_gib=1, start_seconds=600.0)


def test_two_benchmarks_run_on_one_engine(tmp_path: Path, small_model: Path) -> None:
    dataset = capitals_dataset(tmp_path / "capitals")
    with bench(tmp_path, small_model, VLLM_COMMAND) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", dataset)
        greedy = GenerationSettings(temperature=0.0, max_tokens=24)
        orders = [order(task_ref(dataset, "capitals"), name, generation=greedy) for name in ("r1", "r2")]
        heard = run(workbench, batch_of(*orders, engine=RULES))
        log = (workbench.settings.state_folder / "engine" / "engine.log").read_text()
    first, second = (heard.reports[name] for name in ("r1", "r2"))
    assert first.outcome is AttemptOutcome.COMPLETED, first.detail
    assert second.outcome is AttemptOutcome.COMPLETED, second.detail
    assert log.count("Starting vLLM server") == 1, "the second order found the engine warm"
    assert first.measurement is not None
    assert second.measurement is not None
    assert first.measurement.score is not None
    assert first.measurement.score > 0.4, "the model knows some capitals"
    assert first.measurement.circumstances.versions["vllm"].startswith("0.32.0")
    assert first.measurement.sample_ids == second.measurement.sample_ids
    assert first.measurement.failed == 0


def test_an_engine_whose_starter_is_killed_leaves_nothing_behind(tmp_path: Path, small_model: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workers.engine import EngineManager;"
        "from specs.messages import ModelRef; from specs.policy import EngineRules;"
        "manager = EngineManager(Path(sys.argv[1]));"
        "engine = manager.engine_for(ModelRef(model_id='org/model', revision=sys.argv[3]), Path(sys.argv[2]),"
        " EngineRules.model_validate_json(sys.argv[4]), 0);"
        "print(engine.base_url, flush=True); time.sleep(3600)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "engine"), str(small_model), COMMIT, RULES.model_dump_json()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    base_url = starter.stdout.readline().strip()
    assert httpx.get(base_url.removesuffix("/v1") + "/health").status_code == 200
    family = psutil.Process(starter.pid).children(recursive=True)
    names = " ".join(process.name() for process in family)
    assert "VLLM::" in names, names
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def test_broken_weights_are_the_models_fault_in_the_engines_words(tmp_path: Path, small_model: Path) -> None:
    # The headers are sound and the tensors are there, but they are not those of the architecture in the config.
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - imports torch, which only this test needs

    broken = tmp_path / "broken"
    shutil.copytree(small_model, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if "layers.3." not in name}
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name][:100].contiguous()
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    dataset = capitals_dataset(tmp_path / "capitals")
    with bench(tmp_path, broken, VLLM_COMMAND) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", dataset)
        heard = run(workbench, batch_of(order(task_ref(dataset, "capitals")), engine=RULES))
    report = heard.reports["r1"]
    assert report.outcome is AttemptOutcome.MODEL_FAILED, report.detail
    assert "size" in report.detail


def test_our_copy_of_vllms_sampling_defaults_is_still_right() -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import (  # noqa: PLC0415 - takes 20 s
        ChatCompletionRequest,
    )

    theirs = ChatCompletionRequest._DEFAULT_SAMPLING_PARAMS.default
    assert {**theirs, "max_tokens": None} == VLLM_DEFAULTS
