"""What nobody sent out, or nobody measured, gives no verdict and no badge."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from scheduler.badges.issuing import sign_missing
from scheduler.collect import checking, heartbeats
from scheduler.database.tables import Attempt, Badge, Event, Reproduction
from scheduler.farm import Farm
from specs.measurement import Measurement
from specs.messages import AttemptOutcome, AttemptsAlive, Progress, Report, Stage
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.reported_farm import (
    World,
    count,
    outcomes,
    reproduction,
    take,
)
from tests.support.sent_batches import batch_of

FORGERIES: dict[str, dict[str, object]] = {
    "of an attempt that was not sent": {"ref.attempt": 2},
    "of a reproduction that is none": {"ref.reproduction_id": "f" * 32},
    "about another model": {"model.model_id": "evil/model"},
    "about another commit of the model": {"model.revision": "f" * 40},
    "about another spec": {"task.spec_sha256": "f" * 64},
    "about another task": {"task.task_id": "easier"},
    "with another seed": {"measurement.circumstances.seed": 1},
    "with a better score": {"measurement.score": 0.975},
    "with better answers": {"measurement.sample_scores": [1.0] * 40, "measurement.score": 1.0},
    "of a larger dataset": {"measurement.population": 4_000_000},
    "of other versions": {"measurement.circumstances.versions": {"vllm": "9.9.9"}},
    "with a log that is not there": {"evidence.sha256": "f" * 64},
    "with a log of another size": {"evidence.size_bytes": 1},
}


databases = mostly_sqlite


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_no_forged_report_makes_a_badge(world: World, farm: Farm, forgery: dict[str, object]) -> None:
    forged = world.report.encode()
    for path, value in forgery.items():
        *steps, last = path.split(".")
        holder: Any = forged
        for step in steps:
            holder = holder[step]
        holder[last] = value[: len(holder[last])] if isinstance(value, list) else value
    take(farm, Report.decode(forged))
    sign_missing(farm)
    assert outcomes(farm) == {}
    assert count(farm, Badge) == 0


def test_what_a_report_leaves_out_is_judged_as_its_log_has_it(world: World, farm: Farm) -> None:
    assert world.report.measurement is not None
    silent: Any = world.report.encode()
    silent["measurement"].update(thoughts=None, cut_by_context=None)
    silent["measurement"]["circumstances"]["epoch_reducer"] = None
    take(farm, Report.decode(silent))
    assert reproduction(farm).measurement == world.report.measurement.model_dump(mode="json")


ORDERED: dict[str, dict[str, object]] = {
    "a temperature": {"generation": {"temperature": 0.5}},
    "a number of epochs": {"epochs": 3},
    "kernels": {"engine": {"batch_invariant": "required"}},
}


@pytest.mark.parametrize("ordered", ORDERED.values(), ids=ORDERED)
def test_a_run_that_was_not_done_as_policy_orders_gives_no_verdict(
    world: World, farm: Farm, ordered: dict[str, object]
) -> None:
    with farm.database.transaction() as session:
        row = session.scalars(select(Reproduction)).one()
        row.settings = {**row.settings, **ordered}
    take(farm, world.report)
    assert outcomes(farm) == {}
    with farm.database.reading() as session:
        detail = session.scalars(select(Attempt.detail)).one()
    assert detail is not None
    assert detail.startswith("report refused: its ")


def test_a_forged_heartbeat_costs_an_attempt_and_gives_no_verdict(world: World, farm: Farm) -> None:
    stolen = AttemptsAlive(
        worker="thief@elsewhere",
        batch_id=batch_of(farm.database, world.report.ref),
        pool="cpu",
        progress=(Progress(ref=world.report.ref, stage=Stage.RUNNING, samples_done=40, samples_total=40, score=1.0),),
    )
    assert heartbeats.alive(farm.database, farm.policy, stolen) == []
    take(farm, world.report)
    assert outcomes(farm) == {}, "the attempt is the thief's now; its lease runs out, and another one is sent"
    assert count(farm, Badge) == 0


@ON_BOTH
def test_evidence_is_not_read_for_a_report_that_nobody_awaits(
    world: World, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(url: str, report: Report, _: object) -> Measurement | None:
        read.append(url)
        return report.measurement

    monkeypatch.setattr(checking, "check_evidence", reading)
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().worker = world.report.worker
    encoded = world.report.encode()
    for change in ({"worker": "thief@elsewhere"}, {"ref": {**encoded["ref"], "attempt": 7}}):  # type: ignore[dict-item]
        take(farm, Report.decode({**encoded, **change}))
    take(farm, Report.decode({**encoded, "ref": {"reproduction_id": "f" * 32, "attempt": 1}}))
    assert read == []
    take(farm, world.report)
    assert len(read) == 1


@ON_BOTH
def test_reports_that_come_too_late_do_not_fill_the_record(world: World, farm: Farm) -> None:
    take(farm, world.report)
    before = count(farm, Event)
    encoded = world.report.encode()
    for number in range(5):
        take(farm, Report.decode({**encoded, "worker": f"thief-{number}@elsewhere"}))
        take(farm, Report.decode({**encoded, "ref": {**encoded["ref"], "attempt": 2 + number}}))  # type: ignore[dict-item]
    assert count(farm, Event) == before
    with farm.database.transaction() as session:
        attempt = session.scalars(select(Attempt)).one()
        attempt.worker, attempt.outcome = world.report.worker, AttemptOutcome.INTERRUPTED
    for _ in range(5):
        take(farm, world.report)
    assert count(farm, Event) == before + 1, "the attempt was its own, and it is said once"


@ON_BOTH
def test_a_run_that_says_it_took_for_ever_costs_nobodys_budget(world: World, farm: Farm) -> None:
    measured = world.report.encode()["measurement"]
    assert isinstance(measured, dict)
    forged = {**measured, "started_at": "2001-01-01T00:00:00Z", "ended_at": "2199-01-01T00:00:00Z"}
    take(farm, Report.decode({**world.report.encode(), "measurement": forged}))
    assert outcomes(farm) == {}
    with farm.database.reading() as session:
        assert "it says that it took" in str(session.scalars(select(Attempt.detail)).one())
        assert (session.scalars(select(Reproduction.gpu_seconds)).one() or 0) < 1e6
