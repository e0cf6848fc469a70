"""A run's process has little left to import."""

from __future__ import annotations

from pathlib import Path

from tests.support.shared_runs import printed_by

PROGRAM = """
import sys
import inspect_ai
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import _model_info, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

assert _model_info._model_info_cache, "what is known of models was read"
before = set(sys.modules)
# Nobody listens there: the request is made, and fails.
model = get_model("vllm/nobody/there", base_url="http://127.0.0.1:9/v1", api_key="none")
task = Task(dataset=MemoryDataset([Sample(input="1?", target="1")]), solver=generate(), scorer=includes())
(log,) = inspect_ai.eval(task, model=model, display="none", log_dir=sys.argv[1], max_retries=0, ctl_server=False)
print("SAMPLES", len(log.samples), "LATE", len(set(sys.modules) - before), *sorted(set(sys.modules) - before)[:20])
"""


def test_a_run_imports_next_to_nothing_once_it_is_under_way(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    printed = printed_by(program, [str(tmp_path)], {}, tmp_path)
    words = next(line for line in printed.splitlines() if line.startswith("SAMPLES")).split()
    assert words[1] == "1", printed
    # Without it some 700, and with Anthropic's client 3,600.
    assert int(words[3]) < 200, words
