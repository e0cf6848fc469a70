"""The farm beside plain runs of the same tasks, with the real small model on real vLLM.

Plain is what somebody does by hand (plain_run.py): start vLLM with the farm's arguments, have Inspect run the benchmark
from the Hub, stop. The farm is up, as it is in production, and has no engine: both sides start one, from weights that
lie on the disk, of a model that vLLM has served there before. The farm's worker has imported by then what it forks
engines and runs from. Its time is from the first claim's being planned to the
last verdict, which takes in dispatch, queue, engine, run, evidence, report and judgement. All samples are run (policy:
`full`), the same on both sides.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from huggingface_hub import HfApi
from sqlalchemy import func, select

from deploy.bench.asking import asking_seconds
from deploy.bench.engine_tasks import FEW, LONG, TASK, TASKS, claim, fill_hub
from deploy.bench.plain_run import PlainOrder, PlainRun, by_command, start
from deploy.demo.benchmarks import QuestionBenchmark, questions_text
from deploy.demo.models import GOOD, ensure_model
from deploy.demo.run import POLICY
from deploy.farm.environments import Plan
from deploy.farm.farm import running_farm
from deploy.farm.hub import start_hub
from deploy.farm.processes import Processes
from scheduler.database.session import Database
from scheduler.database.tables import Reproduction, VerdictRow
from scheduler.state_machine import ReproductionState
from specs.logs.evidence import path_in_store
from specs.measurement import Measurement
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from workers.processes.ports import free_port
from workers.snapshots.fetch import Snapshots

CONCURRENCY = 32
PATIENCE_SECONDS = 1800.0
POOL = "cpu"
"""Of the demo's policy."""

MODEL = Path("var/models/SmolLM2-135M-Instruct")


@dataclass(frozen=True)
class FarmRun:
    """What the farm did."""

    seconds: float
    """From the first plan to the last verdict."""

    samples: int
    scores: dict[str, float | None]
    """By benchmark."""

    output_tokens: int
    asking_seconds: float
    """Between the first sample's beginning and the last one's end, of each task, all together."""


@dataclass(frozen=True)
class SideBySide:
    """Some tasks of one model, by hand and by the farm."""

    plain: list[PlainRun]
    farm: FarmRun


@dataclass(frozen=True)
class EngineFigures:
    """What was measured."""

    one: tuple[SideBySide, ...]
    """One task, several times in turns: seconds of asking, of which one is not like the next."""

    every: SideBySide
    few: SideBySide
    """As many tasks of fewer questions."""

    long: SideBySide
    """One task of long answers."""


def engine_figures(tasks: int, turns: int) -> EngineFigures:
    """Measure one task, `turns` times, and `tasks` of them."""
    model = MODEL.resolve()
    ensure_model(model)
    with tempfile.TemporaryDirectory(prefix="reprofarm-bench-") as name:
        folder = Path(name).resolve()
        engine = folder / "engine"
        _serve_once(model, engine)

        def both(what: str, of: Sequence[QuestionBenchmark], *, client: bool = False) -> SideBySide:
            plain = _plain(folder / f"plain-{what}", model, engine, of, client=client)
            return SideBySide(plain, _farm(folder / f"farm-{what}", model, engine, of))

        return EngineFigures(
            one=tuple(both(f"one-{turn}", TASKS[:1], client=True) for turn in range(turns)),
            every=both("every", TASKS[:tasks]),
            few=both("few", FEW[:tasks]),
            long=both("long", [LONG], client=True),
        )


def _serve_once(model: Path, engine_folder: Path) -> None:
    """Have vLLM learn what it keeps of a model: the first start takes it several seconds longer."""
    manager = by_command(engine_folder)
    rules = EngineRules.model_validate(_rules(), strict=False)
    try:
        manager.engine_for(ModelRef(model_id=GOOD, revision="0" * 40), model, rules, 0)
    finally:
        manager.stop()


def _rules() -> dict[str, Any]:
    of_demo = EngineRules.model_validate(POLICY["engine"], strict=False)
    return of_demo.model_copy(update={"concurrency": CONCURRENCY}).model_dump(mode="json")


def _plain(
    folder: Path, model: Path, engine_folder: Path, tasks: Sequence[QuestionBenchmark], *, client: bool
) -> list[PlainRun]:
    """By hand, one after the other; with `client`, vLLM's asks the questions of the first too."""
    fill_hub(folder / "hub", model, folder / "scratch", tasks)
    questions = folder / "questions.jsonl"
    lines = [json.loads(line) for line in questions_text(tasks[0]).splitlines()]
    questions.write_text("".join(json.dumps({"prompt": line["question"]}) + "\n" for line in lines))
    processes = Processes(folder, folder / "logs")
    try:
        url = start_hub(processes, folder / "hub")
        return [
            start(
                PlainOrder(
                    dataset_id=task.dataset_id,
                    task_id=TASK,
                    hub_url=url,
                    model_id=GOOD,
                    model_folder=str(model),
                    rules=_rules(),
                    folder=str(folder / task.name),
                    engine_folder=str(engine_folder),
                    max_tokens=task.max_tokens,
                    questions=str(questions) if client and task is tasks[0] else None,
                )
            )
            for task in tasks
        ]
    finally:
        processes.stop()


def _farm(folder: Path, model: Path, engine_folder: Path, tasks: Sequence[QuestionBenchmark]) -> FarmRun:
    # Where its worker's engines keep it.
    shutil.copytree(engine_folder / "vllm", folder / "farm" / "workers" / POOL / "engine" / "vllm")
    token = fill_hub(folder / "hub", model, folder / "scratch", tasks)
    policy = folder / "policy.yaml"
    rules = {
        **POLICY,
        "engine": _rules(),
        "verification": {"mode": "full", "tolerance": 0.9},
        "publish": {"mode": "off"},
    }
    policy.write_text(yaml.safe_dump(rules))
    processes = Processes(folder, folder / "logs")
    try:
        url = start_hub(processes, folder / "hub")
        _fetch(url, folder / "farm" / "cache")
        plan = Plan(folder / "farm", free_port(), hub_endpoint=url, policy=policy)
        with running_farm(plan, processes):
            _wait_for_worker(processes, plan.folder / "workers" / POOL)
            claim(HfApi(endpoint=url, token=token), tasks)
            database = Database(f"sqlite:///{folder / 'farm' / 'reprofarm.db'}")
            try:
                processes.wait_until("every verdict", lambda: _verdicts(database) == len(tasks), PATIENCE_SECONDS)
                return _what_was_done(database, folder / "farm" / "evidence")
            finally:
                database.engine.dispose()
    finally:
        processes.stop()


def _fetch(hub_url: str, cache: Path) -> None:
    """Have the model in the worker's cache, as the plain side has it on its disk."""
    api = HfApi(endpoint=hub_url, token=False)
    ref = ModelRef(model_id=GOOD, revision=str(api.model_info(GOOD).sha))
    Snapshots(cache, api, max_dataset_bytes=0).model(ref)


def _wait_for_worker(processes: Processes, state: Path) -> None:
    """Until it has imported what it forks engines and runs from."""

    def idle() -> bool:
        lines = ((each, each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))
        servers = [each for each, line in lines if line[1:2] == ["-m"] and line[-1].startswith(f"{state}/")]
        return len(servers) == 2 and all(each.cpu_percent(1.0) < 1.0 for each in servers)

    processes.wait_until("a worker that is ready", idle, PATIENCE_SECONDS)


def _verdicts(database: Database) -> int:
    time.sleep(0.5)
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(VerdictRow)) or 0


def _what_was_done(database: Database, evidence: Path) -> FarmRun:
    with database.reading() as session:
        runs = session.scalars(select(Reproduction)).all()
        began = min(run.created_at for run in runs)
        ended = max(row.decided_at for row in session.scalars(select(VerdictRow)))
    if any(run.state != ReproductionState.COMPLETED for run in runs):
        raise RuntimeError(f"not completed: {[run.reason for run in runs]}")
    measured = {run.dataset_id: Measurement.model_validate(run.measurement, strict=False) for run in runs}
    return FarmRun(
        seconds=(ended - began).total_seconds(),
        samples=sum(len(each.sample_ids) for each in measured.values()),
        scores={name: each.score for name, each in measured.items()},
        output_tokens=sum(each.output_tokens for each in measured.values()),
        asking_seconds=sum(asking_seconds(evidence / path_in_store(str(run.evidence_sha256))) for run in runs),
    )
