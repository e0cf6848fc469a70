"""A task run without a farm: start vLLM, have Inspect run the benchmark, stop: `plain_run.py ORDER.json`.

As somebody would by hand, with the engine's arguments, the sampling settings and the concurrency that the farm uses.
Prints a JSON object. With `questions`, vLLM's own benchmark client asks them of an engine like the farm's afterwards;
that is not part of what is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.bench.asking import asking_seconds
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from workers.engines.cpu_executor import AS_VLLM_DOES
from workers.engines.engine import Engine
from workers.engines.engine_manager import EngineManager
from workers.engines.engine_process import EngineCommand
from workers.engines.gate import Gate
from workers.processes.guarded import clean_environment
from workers.settings import WorkerSettings
from workers.shared_state import SharedState

CLIENT = """\
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""
"""`vllm bench serve`: the command itself dies on missing metadata of the CPU build."""


@dataclass(frozen=True)
class PlainOrder:
    """What to run."""

    dataset_id: str
    task_id: str
    hub_url: str
    model_id: str
    model_folder: str
    rules: dict[str, Any]
    """An `EngineRules` as JSON."""

    folder: str
    engine_folder: str
    """Where vLLM keeps what it learnt of the model when it ran before."""

    max_tokens: int
    """Of an answer."""

    questions: str | None
    """JSON lines of prompts for vLLM's client; None asks nothing of it."""


@dataclass(frozen=True)
class PlainRun:
    """What came of it."""

    seconds: float
    """From before the engine's start to the log."""

    engine_seconds: float
    """Of that, for the engine to be up."""

    samples: int
    score: float
    output_tokens: int
    asking_seconds: float
    """Between the first sample's beginning and the last one's end."""

    client: dict[str, Any] | None
    """What vLLM's client says of itself."""


def start(order: PlainOrder) -> PlainRun:
    """Run it in a process of its own."""
    folder = Path(order.folder)
    folder.mkdir(parents=True)
    file = folder / "order.json"
    file.write_text(json.dumps(asdict(order)))
    command = [sys.executable, "-m", "deploy.bench.plain_run", str(file)]
    environment = clean_environment(
        HF_ENDPOINT=order.hub_url,
        HF_HOME=str(folder / "hf"),
        DO_NOT_TRACK="1",
        # As the farm's engines do: workers/engines/engine_environment.py.
        VLLM_USE_FLASHINFER_SAMPLER="0",
        **AS_VLLM_DOES,
    )
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"the plain run failed:\n{ended.stderr[-4000:]}")
    return PlainRun(**json.loads(ended.stdout.splitlines()[-1]))


def by_command(engine_folder: Path) -> EngineManager:
    """What starts engines by vLLM's command, one after the other; it keeps its notes beside their folder."""
    shared = SharedState(engine_folder.with_name("board"))
    return EngineManager(engine_folder, EngineCommand(), Gate(WorkerSettings(), shared), shared)


def _run(order: PlainOrder, began: float) -> PlainRun:
    manager = by_command(Path(order.engine_folder))
    rules = EngineRules.model_validate(order.rules, strict=False)
    try:
        ref = ModelRef(model_id=order.model_id, revision="0" * 40)
        engine = manager.engine_for(ref, Path(order.model_folder), rules, 0)
        engine_seconds = time.monotonic() - began
        os.environ["VLLM_API_KEY"] = manager.api_key
        log = _evaluate(order, engine.base_url, rules.concurrency)
        seconds = time.monotonic() - began
        client = None
        if order.questions:
            manager.stop()
            for name in AS_VLLM_DOES:
                del os.environ[name]
            engine = manager.engine_for(ref, Path(order.model_folder), rules, 0)
            client = _client(order, engine, rules.concurrency, manager.api_key)
    finally:
        manager.stop()
    usage = next(iter(log.stats.model_usage.values()))
    asking = asking_seconds(Path(log.location))
    metrics = next(iter(log.results.scores)).metrics
    score = next(iter(metrics.values())).value
    return PlainRun(seconds, engine_seconds, log.results.completed_samples, score, usage.output_tokens, asking, client)


def _evaluate(order: PlainOrder, base_url: str, concurrency: int) -> Any:  # Inspect's log; imported late
    import inspect_ai  # noqa: PLC0415 - as by hand, once the engine is up

    (log,) = inspect_ai.eval(
        f"hf/{order.dataset_id}/{order.task_id}",
        model=f"vllm/{order.model_id}",
        model_base_url=base_url,
        display="none",
        log_dir=str(Path(order.folder) / "logs"),
        temperature=0.0,
        top_p=1.0,
        max_tokens=order.max_tokens,
        max_connections=concurrency,
        max_samples=concurrency,
    )
    if log.status != "success":
        raise RuntimeError(f"Inspect says {log.status}: {log.error}")
    return log


def client_arguments(order: PlainOrder, base_url: str, concurrency: int) -> list[str]:
    """Of vLLM's benchmark client, which is to ask the order's questions at `base_url`, so many at a time."""
    questions = Path(order.questions or "")
    count = len(questions.read_text().splitlines())
    options = {
        "backend": "openai-chat",
        "endpoint": "/v1/chat/completions",
        "base-url": base_url.removesuffix("/v1"),
        "model": order.model_id,
        "tokenizer": order.model_folder,
        "dataset-name": "custom",
        "dataset-path": str(questions),
        "custom-output-len": str(order.max_tokens),
        "num-prompts": str(count),
        "max-concurrency": str(concurrency),
        "temperature": "0",
        "result-dir": order.folder,
        "result-filename": "client.json",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return ["--save-result", "--disable-tqdm", "--skip-chat-template", *words]


def _client(order: PlainOrder, engine: Engine, concurrency: int, key: str) -> dict[str, Any]:
    command = [sys.executable, "-c", CLIENT, *client_arguments(order, engine.base_url, concurrency)]
    environment = clean_environment(OPENAI_API_KEY=key, HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", VLLM_NO_USAGE_STATS="1")
    ended = subprocess.run(command, env=environment, cwd=order.folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"vLLM's client failed:\n{ended.stderr[-4000:]}")
    said = json.loads((Path(order.folder) / "client.json").read_bytes())
    return {name: said[name] for name in ("completed", "duration", "total_output_tokens", "output_throughput")}


if __name__ == "__main__":
    BEGAN = time.monotonic()
    found = _run(PlainOrder(**json.loads(Path(sys.argv[1]).read_bytes())), BEGAN)
    sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")
