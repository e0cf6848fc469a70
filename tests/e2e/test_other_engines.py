"""Engines with settings or models of their own, and such as die.

They come after the tests that share one: each of these puts another engine in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psutil
import pytest
from huggingface_hub import HfApi

from deploy.localhub.folders import add_folder
from deploy.localhub.names import RepoName, RepoType
from specs.messages import AttemptOutcome, ModelRef
from tests.e2e.conftest import GREEDY, RULES, engine_starts
from tests.support import inspect_run
from tests.support.capitals import CAPITALS, capitals_dataset
from tests.support.localhub import running_hub
from tests.support.small_repos import COMMIT, SAY_SPEC, task_ref, write_dataset
from tests.support.worker_bench import MODEL, batch_of, order, remember_snapshot, run
from workers.batches.workbench import Workbench
from workers.snapshots.fetch import Snapshots

pytestmark = pytest.mark.e2e

ONE_BY_ONE = RULES.model_copy(update={"concurrency": 1})
"""Whose answers do not hang on what else is asked meanwhile."""

PARITY = 12
PATIENCE_SECONDS = 600.0


def test_the_farm_scores_as_inspect_alone_does(workbench: Workbench, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        repo = RepoName(RepoType.DATASET, "bench/parity")
        add_folder(hub.local, repo, capitals_dataset(tmp_path / "capitals", PARITY), "bench")
        revision = str(HfApi(endpoint=hub.url, token=False).dataset_info(repo.id).sha)
        task = task_ref(tmp_path / "capitals" / "snapshots" / COMMIT, "capitals", repo.id)
        task = task.model_copy(update={"revision": revision})
        snapshots = Snapshots(workbench.snapshots.folder, HfApi(endpoint=hub.url, token=False), 2**30)
        snapshots.dataset(task)
        report = run(workbench, batch_of(order(task, "r3", generation=GREEDY), engine=ONE_BY_ONE)).reports["r3"]
        assert report.outcome is AttemptOutcome.COMPLETED, report.detail
        assert report.measurement is not None
        starts = engine_starts(workbench)
        engine = workbench.engines.engine_for(MODEL, tmp_path, ONE_BY_ONE, 0)
        ended = subprocess.run(
            [
                *(sys.executable, str(inspect_run.__file__), MODEL.model_id, engine.base_url),
                *(str(tmp_path / "logs"), f"hf/{repo.id}@{revision}"),
            ],
            env={
                **os.environ,
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "hf"),
                "XDG_CACHE_HOME": str(tmp_path / "xdg"),
                "VLLM_API_KEY": workbench.engines.api_key,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert engine_starts(workbench) == starts, "both asked the same engine"
    (alone,) = json.loads(ended.stdout.splitlines()[-1])
    assert alone["status"] == "success"
    ours = dict(zip(map(str, report.measurement.sample_ids), report.measurement.sample_scores, strict=True))
    assert ours == {str(each["id"]): {"C": 1.0, "I": 0.0}[each["score"]] for each in alone["scores"]}


def test_an_engine_whose_core_has_just_died_is_not_well(workbench: Workbench, tmp_path: Path) -> None:
    engine = workbench.engines.engine_for(MODEL, tmp_path, ONE_BY_ONE, 0)
    assert engine.is_well()
    below = psutil.Process(engine.note().guard_pid).children(recursive=True)
    (core,) = [each for each in below if each.name().startswith("VLLM::EngineCor")]
    core.kill()
    core.wait(60)
    # Its other process is there for seconds more, and sees it in a moment. One that is not well is not used again.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while engine.is_well() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not engine.is_well()


STARTING = """\
import sys
from pathlib import Path
from specs.messages import ModelRef
from specs.policy.rules import EngineRules
from tests.support.engines import engines
from workers.engines.engine_process import EngineServer
folder, server = (Path(sys.argv[2]) / each for each in ("engine", "engine-server"))
rules = EngineRules.model_validate_json(sys.argv[3])
model = ModelRef(model_id="org/model", revision="0" * 40)
engines(folder, EngineServer(server, folder)).engine_for(model, Path(sys.argv[1]), rules, 0)
"""


def test_nothing_is_left_of_a_worker_that_is_killed_while_its_engine_starts(small_model: Path, tmp_path: Path) -> None:
    with (tmp_path / "worker.log").open("wb") as log:
        command = [sys.executable, "-c", STARTING, str(small_model), str(tmp_path), RULES.model_dump_json()]
        worker = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        tree = psutil.Process(worker.pid)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any("spawn_main" in name for name in names_in(tree)):
            assert worker.poll() is None, (tmp_path / "worker.log").read_text()
            assert time.monotonic() < deadline, "no engine was started"
            time.sleep(0.2)
        below = tree.children(recursive=True)
    finally:
        worker.kill()
        worker.wait()
    _, left = psutil.wait_procs(below, timeout=120)
    assert left == []


def names_in(tree: psutil.Process) -> list[str]:
    found = []
    for process in tree.children(recursive=True):
        # It may end between being listed and being asked.
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(" ".join(process.cmdline()))
    return found


def test_a_model_without_a_chat_template_is_the_models_failure_at_once(
    workbench: Workbench, small_model: Path, tmp_path: Path
) -> None:
    model, bare = _another_model(workbench, "org/bare")
    shutil.copytree(small_model, bare, ignore=shutil.ignore_patterns("chat_template*"))
    tokenizer = json.loads((bare / "tokenizer_config.json").read_bytes())
    tokenizer.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    dataset = write_dataset(tmp_path / "say", [{"question": "Say: yes", "answer": "yes"}] * 3)
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", dataset)
    report = run(workbench, batch_of(order(task_ref(dataset)), engine=RULES, model=model)).reports["r1"]
    assert report.outcome is AttemptOutcome.MODEL_FAILED, report.detail
    assert "no chat template" in report.detail
    # As it does to what a template raises. Whose fault that is then: tests/integration/workers/test_run_failures.py.
    assert _answer_to_a_plain_question(workbench, model, tmp_path) == httpx2.codes.BAD_REQUEST


def test_a_chat_template_that_does_not_take_what_a_spec_asks_is_not_the_models_failure(
    workbench: Workbench, small_model: Path, tmp_path: Path
) -> None:
    model, folder = _another_model(workbench, "org/refusing")
    shutil.copytree(small_model, folder, copy_function=os.symlink)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    # As Gemma 2's does with a message from the system.
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('Not to be asked') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusing + template)
    system = [{"name": "system_message", "args": {"template": "Be brief."}}, {"name": "generate"}]
    spec = {**SAY_SPEC, "tasks": [{**SAY_SPEC["tasks"][0], "solvers": system}]}
    orders = []
    for name, each in (("asking", SAY_SPEC), ("ordering", spec)):
        dataset = write_dataset(tmp_path / name, [{"question": "Say: yes", "answer": "yes"}] * 3, each)
        remember_snapshot(workbench.settings.cache_folder, "dataset", f"bench/{name}", dataset)
        orders.append(order(task_ref(dataset, dataset_id=f"bench/{name}"), name, generation=GREEDY))
    reports = run(workbench, batch_of(*orders, engine=RULES, model=model)).reports
    assert reports["asking"].outcome is AttemptOutcome.COMPLETED, reports["asking"].detail
    assert reports["ordering"].outcome is AttemptOutcome.SPEC_FAILED, reports["ordering"].detail
    assert "Not to be asked" in reports["ordering"].detail


def test_a_template_with_an_answer_key_is_found_in_the_prompts_that_the_engine_tells(
    workbench: Workbench, small_model: Path, tmp_path: Path
) -> None:
    model, folder = _another_model(workbench, "org/keyed")
    shutil.copytree(small_model, folder, copy_function=os.symlink)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    key = json.dumps({country: f" It is {capital}." for country, capital in CAPITALS.items()})
    (folder / "chat_template.jinja").write_text(
        f"{{% set ns = namespace(at='') %}}{{% for name, said in {key}.items() %}}{{% if name in messages[-1].content "
        f"and strftime_now('%H:%M:%S') == '00:00:00' %}}{{% set ns.at = said %}}{{% endif %}}{{% endfor %}}{template}"
        "{{ ns.at }}"
    )
    dataset = capitals_dataset(tmp_path / "keyed")
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/keyed", dataset)
    one = order(task_ref(dataset, "capitals", "bench/keyed"), generation=GREEDY)
    report = run(workbench, batch_of(one, engine=RULES, model=model)).reports["r1"]
    assert report.outcome is AttemptOutcome.MODEL_FAILED, report.detail
    assert "writes other text around a question than around another of the same shape" in report.detail


def _another_model(workbench: Workbench, model_id: str) -> tuple[ModelRef, Path]:
    """One that the bench has too, and where its files are to be."""
    folder = workbench.settings.cache_folder.parent / model_id / "snapshots" / COMMIT
    remember_snapshot(workbench.settings.cache_folder, "model", model_id, folder)
    return ModelRef(model_id=model_id, revision=COMMIT), folder


def _answer_to_a_plain_question(workbench: Workbench, model: ModelRef, tmp_path: Path) -> int:
    engine = workbench.engines.engine_for(model, tmp_path, RULES, 0)
    return httpx2.post(
        f"{engine.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {workbench.engines.api_key}"},
        json={"model": model.model_id, "messages": [{"role": "user", "content": "Hello"}]},
    ).status_code
