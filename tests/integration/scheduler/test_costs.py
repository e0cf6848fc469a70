"""What a claim is taken to cost, from earlier runs to the API and the commands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from deploy.cli.main import app
from scheduler.database.tables import Claim, Event, Model, Reproduction
from scheduler.planning.task_history import earlier_costs
from scheduler.state_machine import ClaimState, ReproductionState
from specs.policy.budget import BudgetRules
from specs.policy.rules import Policy
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.rows import Rows, measurement
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK, MODEL = "acme/capitals", "tiny/model"
CARD = "dataset_info:\n  splits:\n  - {name: test, num_bytes: 9000, num_examples: 198}\n"

farm = empty_farm


@pytest.fixture
def api(farm: ControlPlane, tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    with running_api(tmp_path, databases, migrated=False) as found:
        yield found


def submitted(farm: ControlPlane, rules: BudgetRules | None = None, eval_yaml: str = EVAL_YAML) -> str:
    """A claim that was found; returns its id."""
    farm.policy = Policy(budget=rules or BudgetRules())
    add_benchmark(farm.served.local, BENCHMARK, eval_yaml, card=CARD)
    submit(farm.served.local, add_model(farm.served.local, MODEL), entry(BENCHMARK, 45.0))
    farm.scan()
    (claim,) = farm.claims()
    return claim.claim_id


def finished(farm: ControlPlane, seconds: float, **fields: Any) -> None:
    """A completed run of four counted and two ignored samples of the task."""
    began = measurement()
    took = began.model_copy(update={"ended_at": began.started_at + timedelta(seconds=seconds)})
    done: dict[str, Any] = {"state": ReproductionState.COMPLETED, "measurement": took.model_dump(mode="json")}
    Rows(farm.database).reproduction(**{**done, "task_id": "capitals", "settings": {"gpus": 0}, **fields})


def test_earlier_runs_of_the_task_say_what_an_answer_costs(farm: ControlPlane) -> None:
    finished(farm, 60)
    finished(farm, 120, settings={"gpus": 4})
    finished(farm, 240, settings={"gpus": 1, "held_gpus": 8})
    finished(farm, 7, pool="other")
    finished(farm, 7, task_id="towns")
    finished(farm, 7, weights_bytes=500 * 10**9)
    finished(farm, 7, state=ReproductionState.FAILED, measurement=None)
    with farm.database.reading() as session:
        found = earlier_costs(session, BENCHMARK, "capitals", 270_000_000, "cpu")
    assert {(run.seconds, run.gpus, run.answers) for run in found} == {(60.0, 0, 6), (120.0, 4, 6), (240.0, 8, 6)}


def test_a_claim_is_planned_at_what_earlier_runs_took(farm: ControlPlane) -> None:
    claim_id = submitted(farm)
    finished(farm, 60)
    with farm.database.transaction() as session:
        session.get_one(Model, MODEL).weights_bytes = 270_000_000
    farm.plan()
    (claim,) = farm.claims()
    assert claim.claim_id == claim_id
    assert claim.gpu_seconds_basis is not None
    assert claim.gpu_seconds_basis.endswith("as 1 earlier run took")
    # Ten seconds an answer, for at most 198 of them, and the engine's start.
    assert claim.gpu_seconds is not None
    assert 10 * 20 < claim.gpu_seconds <= 10 * 198 + 60.27
    with farm.database.reading() as session:
        run = session.scalars(select(Reproduction).where(Reproduction.caused_by == claim_id)).one()
    assert run.gpu_seconds == claim.gpu_seconds


def test_answers_are_as_long_as_the_spec_lets_them_be(farm: ControlPlane) -> None:
    submitted(farm, eval_yaml=EVAL_YAML.replace("{name: generate}", "{name: generate, args: {max_tokens: 24}}"))
    farm.plan()
    (claim,) = farm.claims()
    assert claim.gpu_seconds_basis is not None
    assert "24 tokens an answer, no earlier run" in claim.gpu_seconds_basis


def test_the_api_and_the_plan_show_the_estimate(farm: ControlPlane, api: RunningApi) -> None:
    claim_id = submitted(farm, BudgetRules(approval_gpu_seconds=0))
    assert api.json(f"/v1/claims/{claim_id}")["gpu_seconds"] is None
    farm.plan()
    claim = api.json(f"/v1/claims/{claim_id}")
    assert claim["state"] == "blocked"
    assert claim["gpu_seconds"] > 0
    assert claim["reason"].startswith("waits for an operator's approval: ")
    plan = api.json(f"/v1/claims/{claim_id}/plan")
    assert plan["gpu_seconds"] == claim["gpu_seconds"]
    assert "512 tokens an answer assumed" in plan["gpu_seconds_basis"]
    printed = CliRunner().invoke(app, ["plan", claim_id, "--api", api.url])
    assert "GPU-seconds" in printed.output


def test_the_command_approves_as_the_systems_user(farm: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_DATABASE_URL", farm.database.url)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    claim_id = submitted(farm, BudgetRules(approval_gpu_seconds=0))
    early = CliRunner().invoke(app, ["approve", claim_id])
    assert early.exit_code == 3
    assert "has no estimate yet" in early.stderr
    farm.plan()
    assert [claim.state for claim in farm.claims()] == [ClaimState.BLOCKED]
    done = CliRunner().invoke(app, ["approve", claim_id[:8]])
    assert done.exit_code == 0, done.stderr
    assert f"approved: claim {claim_id}, about " in done.output
    assert "; the limits of a day still hold for it" in " ".join(done.output.split())
    farm.plan()
    with farm.database.reading() as session:
        assert session.get_one(Claim, claim_id).state == ClaimState.PLANNED
        actor = session.scalars(select(Event.actor).where(Event.what == "approved")).one()
    assert actor.startswith("operator:")
    assert actor != "operator:somebody-else"


@pytest.mark.parametrize(
    ("claim_id", "why"), [("abc", "the first 6 or more"), ("abcdef", "no claim has an id like abcdef")]
)
def test_what_cannot_be_approved_is_an_error(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch, claim_id: str, why: str
) -> None:
    monkeypatch.setenv("REPROFARM_DATABASE_URL", farm.database.url)
    result = CliRunner().invoke(app, ["approve", claim_id])
    assert result.exit_code == 3
    assert why in result.stderr


def test_a_database_that_is_not_there_is_an_error_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "none.db"
    monkeypatch.setenv("REPROFARM_DATABASE_URL", f"sqlite:///{file}")
    result = CliRunner().invoke(app, ["approve", "abcdef"])
    assert result.exit_code == 3
    assert "there is no farm's database" in result.stderr
    assert not file.exists()
