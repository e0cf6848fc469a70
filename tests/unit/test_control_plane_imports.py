"""The control plane's processes carry nothing that runs models."""

from __future__ import annotations

import subprocess
import sys

SPEC = b"tasks: [{field_spec: {input: q, target: a}, solvers: [{name: generate}], scorers: [{name: exact}]}]"
PROCESSES = ("scheduler.app", "scheduler.api.app", "deploy.cli.main")
HEAVY = ("torch", "vllm", "lighteval", "transformers")


def test_no_process_of_the_control_plane_loads_what_runs_models() -> None:
    # In a process of its own, one for all: this one may have loaded anything. What one of them loads is said of those
    # after it too. With a spec read, which loads Inspect's task models.
    script = f"""
import sys, importlib
for module in {PROCESSES!r}:
    importlib.import_module(module)
    print(module, *sorted(set({HEAVY!r}) & set(sys.modules)))
from specs.hub import eval_yaml
assert eval_yaml.parse({SPEC!r}).status == "runnable"
print("a spec", *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.splitlines() == [*PROCESSES, "a spec"]
