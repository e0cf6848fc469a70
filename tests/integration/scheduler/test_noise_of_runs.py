"""A model that is run twice makes a pair: a real local Hub, and a real worker whose engine alone is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from scheduler.collect import reports
from scheduler.database.tables import NoisePair, Reproduction
from scheduler.dispatch.dispatcher import dispatch
from scheduler.state_machine import ReproductionState
from specs.policy.engine import EngineRules
from specs.policy.rules import Policy
from specs.policy.verification import VerificationRules
from tests.support.databases import Databases
from tests.support.echo import add_echo
from tests.support.hub_content import add_model, entry, submit
from tests.support.one_worker import worked
from tests.support.scheduler import ControlPlane, control_plane

BENCHMARK, MODEL = "acme/echo", "tiny/model"


def policy(concurrency: int) -> Policy:
    return Policy(verification=VerificationRules(mode="full"), engine=EngineRules(concurrency=concurrency))


def work(farm: ControlPlane, folder: Path) -> None:
    """Have a worker run what is queued, and take in its report twice."""
    dispatch(farm.database, farm.policy)
    report = worked(farm.database, folder, farm.served.url)
    for _ in range(2):
        reports.report(farm.database, farm.policy, f"file://{folder / 'evidence'}", report)


def test_reproductions_of_one_model_that_complete_are_entered_in_the_ledger(
    tmp_path: Path, databases: Databases
) -> None:
    with control_plane(tmp_path, databases, policy(concurrency=32)) as farm:
        hub = farm.served.local
        add_echo(hub, BENCHMARK)
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
