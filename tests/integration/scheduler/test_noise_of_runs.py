"""A model that is run twice makes a pair: a real local Hub, and a real worker whose engine alone is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from deploy.localhub.commits import CommitText
from scheduler.collect import collecting
from scheduler.database.tables import NoisePair, OutboxRow, Reproduction
from scheduler.dispatch.dispatching import dispatch
from scheduler.state_machine import ReproductionState
from specs.messages import RUN_BATCH, RunBatch
from specs.policy.rules import EngineRules, Policy, VerificationRules
from tests.support.databases import Databases
from tests.support.echo import ECHO_SPEC
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane
from tests.support.shared_runs import shared_runs
from tests.support.worker_bench import run, stand_in
from workers.batches.workbench import open_workbench
from workers.settings import WorkerSettings

BENCHMARK, MODEL = "acme/echo", "tiny/model"
ROWS = [{"question": f"{n}? Say: {n}", "answer": str(n) if n % 4 else "no"} for n in range(40)]


def policy(concurrency: int) -> Policy:
    return Policy(verification=VerificationRules(mode="full"), engine=EngineRules(concurrency=concurrency))


def work(farm: ControlPlane, folder: Path) -> None:
    """Have a worker run what is queued, and take in its reports twice."""
    dispatch(farm.database, farm.policy)
    with farm.database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.task == RUN_BATCH).order_by(OutboxRow.created_at))
        batch = RunBatch.decode(list(rows)[-1].body)
    settings = WorkerSettings(
        pool="cpu",
        hub_endpoint=farm.served.url,
        evidence_url=f"file://{folder / 'evidence'}",
        cache_folder=folder / "cache",
        state_folder=folder / "state",
    )
    bench = open_workbench("worker@test", settings, stand_in(), shared_runs())
    try:
        reports = run(bench, batch).reports.values()
    finally:
        bench.engines.stop()
        bench.lock.close()
    for report in [*reports, *reports]:
        collecting.report(farm.database, farm.policy, settings.evidence_url, report)


def test_reproductions_of_one_model_that_complete_are_entered_in_the_ledger(
    tmp_path: Path, databases: Databases
) -> None:
    with control_plane(tmp_path, databases, policy(concurrency=32)) as farm:
        hub = farm.served.local
        repo = add_benchmark(hub, BENCHMARK, ECHO_SPEC)
        rows = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
        hub.commit(repo, {"test.jsonl": rows}, CommitText("Add rows", "acme"))
        model = add_model(hub, MODEL)
        # The second one comes when the operator has changed how many requests the engine gets at once.
        for value, concurrency in ((75.0, 32), (76.0, 4)):
            farm.policy = policy(concurrency)
            submit(hub, model, entry(BENCHMARK, value, task="echo"), name=f"at-{concurrency}.yaml")
            farm.scan()
            farm.plan()
            work(farm, tmp_path)
        with farm.database.reading() as session:
            first, second = session.scalars(select(Reproduction).order_by(Reproduction.created_at))
            (pair,) = session.scalars(select(NoisePair))
    assert (first.state, second.state) == (ReproductionState.COMPLETED, ReproductionState.COMPLETED)
    assert first.seed != second.seed
    assert (pair.reproduction_id, pair.earlier_id) == (second.reproduction_id, first.reproduction_id)
    assert (pair.samples, pair.population) == (40, 40)
    assert pair.mean_square == pytest.approx(0), "the stand-in answers as before"
    assert pair.hardware.startswith("CPU")
    assert pair.engine == pair.earlier_engine != "unknown"
