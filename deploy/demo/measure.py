"""Measures the demo's true scores by a plain run of Inspect on transformers: `python -m deploy.demo.measure [MODEL]`.

It shares nothing with the farm's own way of running a spec but the model and the questions, so that what the demo
verifies was really found twice. Takes some minutes on two cores; what it prints belongs in `measured.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from inspect_ai import Task
from inspect_ai import eval as run
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.model import Model, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

from deploy.demo.benchmarks import MAX_ANSWER_TOKENS, QUESTIONS, RUNNABLE, questions_sha256, write_benchmarks
from deploy.demo.models import ensure_model

BATCH = 32
MAX_ERROR_CHARS = 500


def main() -> None:
    """Measure both benchmarks and print what belongs in `MEASURED`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "var/models/SmolLM2-135M-Instruct").resolve()
    ensure_model(folder)
    model = get_model(f"hf/{folder.name}", model_path=str(folder), dtype="float32", device="cpu", do_sample=False)
    with tempfile.TemporaryDirectory() as made:
        repos = write_benchmarks(Path(made))
        for benchmark in RUNNABLE:
            score = _measure(model, repos[benchmark.dataset_id] / QUESTIONS, Path(made))
            sys.stdout.write(f"{benchmark.dataset_id}: {score:.4f} on {questions_sha256(benchmark)}\n")


def _measure(model: Model, questions: Path, logs: Path) -> float:
    dataset = json_dataset(str(questions), FieldSpec(input="question", target="answer", id="id"))
    task = Task(dataset, solver=generate(), scorer=includes())
    (log,) = run(task, model, max_tokens=MAX_ANSWER_TOKENS, max_connections=BATCH, log_dir=str(logs), display="none")
    if log.status != "success" or log.results is None:
        sys.exit(f"{questions}: {log.status} {str(log.error)[:MAX_ERROR_CHARS]}")
    return float(log.results.scores[0].metrics["accuracy"].value)


if __name__ == "__main__":
    main()
