"""The control plane's processes carry nothing that runs models."""

from __future__ import annotations

import subprocess
import sys

import pytest

SPEC = b"tasks: [{field_spec: {input: q, target: a}, solvers: [{name: generate}], scorers: [{name: exact}]}]"
HEAVY = ("torch", "vllm", "lighteval", "transformers")


@pytest.mark.parametrize("module", ["scheduler.app", "scheduler.api.app", "deploy.cli.main"])
def test_no_process_of_the_control_plane_loads_what_runs_models(module: str) -> None:
    # In a process of its own: this one may have loaded anything. With a spec read, which loads Inspect's task models.
    script = f"""
import sys, importlib
importlib.import_module({module!r})
from specs.hub import eval_yaml
assert eval_yaml.parse({SPEC!r}).status == "runnable"
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split() == []
