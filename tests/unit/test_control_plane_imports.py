"""The control plane's processes carry nothing that runs models, and the API nothing that watches or judges either."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SPEC = b"tasks: [{field_spec: {input: q, target: a}, solvers: [{name: generate}], scorers: [{name: exact}]}]"
HEAVY = {"torch", "vllm", "lighteval", "transformers"}
NOT_THE_APIS = {"inspect_ai", "celery", "huggingface_hub", "scipy", "numpy"}

# The API first: what one of them loads is said of those after it too. With a spec read, which loads Inspect's task
# models.
SCRIPT = f"""
import gc, importlib, json, sys
loaded = {{}}

def load(module):
    importlib.import_module(module)
    loaded[module] = sorted({HEAVY | NOT_THE_APIS!r} & set(sys.modules))

load("scheduler.api.app")
before = gc.get_threshold()[0]
load("scheduler.app")
from celery import signals
signals.worker_ready.send(sender=None)
garbage = [before, gc.get_threshold()[0], gc.get_freeze_count()]
load("deploy.cli.main")
from specs.hub import eval_yaml
assert eval_yaml.parse({SPEC!r}).status == "runnable"
load("specs.hub.eval_yaml")
print(json.dumps({{"loaded": loaded, "garbage": garbage}}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """Of a process of its own: this one may have loaded anything, and what is frozen here would stay so."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_process_of_the_control_plane_loads_what_runs_models(said: dict[str, Any]) -> None:
    assert list(said["loaded"]) == ["scheduler.api.app", "scheduler.app", "deploy.cli.main", "specs.hub.eval_yaml"]
    assert {module: HEAVY & set(loaded) for module, loaded in said["loaded"].items() if HEAVY & set(loaded)} == {}


def test_the_api_loads_nothing_that_runs_models_watches_or_judges(said: dict[str, Any]) -> None:
    assert said["loaded"]["scheduler.api.app"] == []


def test_a_control_worker_that_is_up_leaves_alone_what_it_imported(said: dict[str, Any]) -> None:
    before, threshold, frozen = said["garbage"]
    assert before != threshold == 10_000
    assert frozen > 100_000
