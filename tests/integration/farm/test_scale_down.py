"""A pool that is scaled down under its work loses none of it.

Real processes, and a scaler that does what KEDA and Kubernetes do: it asks `/v1/pools` how many workers are wanted,
starts them up to a maximum, and ends one that is too many with SIGTERM, whatever that one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Badge, Event, Reproduction, VerdictRow
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome
from tests.support.hub_content import add_model, entry, submit
from tests.support.real_farm import BENCHMARK, MODEL, SAMPLES, RealFarm, watched_farm

MODELS = (MODEL, "tiny/second", "tiny/third")
SECONDS = (5.0, 2.0, 0.02)
"""For an answer, of the first worker's engine, the second's and the third's, until all are told to hurry: the first is
far from done when it is told to stop, and the others make up for it."""

T = TypeVar("T", Attempt, Badge, Event, Reproduction, VerdictRow)


@dataclass
class Scaler:
    """Sets the number of workers of the only pool."""

    farm: RealFarm
    maximum: int
    started: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    too_few_wanted: list[dict[str, Any]] = field(default_factory=list)
    """Looks at the pool at which fewer workers were wanted than batches were being run."""

    def look(self) -> dict[str, Any]:
        """One round; returns the pool."""
        (pool,) = self.farm.get("/v1/pools")["items"]
        # Each batch is one reproduction here: each has a model of its own.
        if pool["workers_wanted"] < pool["running"]:
            self.too_few_wanted.append(pool)
        desired = min(pool["workers_wanted"], self.maximum)
        while len(self.up) < desired:
            name = f"w{len(self.started) + 1}"
            self.farm.start_worker(name, slow_seconds=SECONDS[min(len(self.started), 2)])
            self.started.append(name)
        while len(self.up) > desired:
            # The oldest, which has been at work for longest. SIGTERM, and a wait for its end.
            self.farm.processes.stop(self.up[0])
            self.ended.append(self.up[0])
        return dict(pool)

    @property
    def up(self) -> list[str]:
        """Those that were not ended."""
        return [name for name in self.started if name not in self.ended]


@dataclass(frozen=True)
class Story:
    """What happened."""

    scaler: Scaler
    waiting: int
    """Reproductions that nobody had taken when the first worker was told to stop."""

    undecided: int
    """Claims without a verdict when no worker was wanted any more."""

    database: Database

    def all(self, table: type[T]) -> list[T]:
        with self.database.reading() as session:
            return list(session.scalars(select(table)))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("scaled")
    with watched_farm(folder) as farm:
        for model in MODELS[1:]:
            submit(farm.hub.local, add_model(farm.hub.local, model), entry(BENCHMARK, 100, task="echo"))
        farm.wait(lambda: len([each for each in farm.claims() if each["state"] == "planned"]) == len(MODELS))
        scaler = Scaler(farm, maximum=2)
        farm.wait(lambda: bool(scaler.look()) and under_way(farm) == 2)
        scaler.maximum = 1
        pool = scaler.look()
        scaler.maximum = 2
        farm.wait(lambda: scaler.look() and len(scaler.started) == 3)
        farm.hurry.touch()
        farm.wait(lambda: scaler.look()["workers_wanted"] == 0)
        undecided = len([each for each in farm.claims() if each["state"] != "decided"])
        farm.wait(lambda: all(each["badge"] for each in farm.claims()))
        yield Story(scaler, pool["queued"] + pool["dispatched"], undecided, farm.database)


def under_way(farm: RealFarm) -> int:
    """Runs that have some of their answers, and not all."""
    runs = farm.get("/v1/reproductions?state=running")["items"]
    return sum(2 <= run["samples_done"] < SAMPLES for run in runs)


def handed_back(story: Story) -> list[Attempt]:
    return [each for each in story.all(Attempt) if each.outcome == AttemptOutcome.HANDED_BACK]


def by(attempt: Attempt) -> str:
    return (attempt.worker or "").partition("@")[0]


def test_workers_were_ended_while_batches_ran_and_waited(story: Story) -> None:
    assert story.waiting >= 1
    assert story.scaler.started[:3] == ["w1", "w2", "w3"]
    # As work comes to its end fewer workers are wanted, and one that is busy may be ended again.
    assert "w1" in {by(each) for each in handed_back(story)}


def test_every_claim_has_one_verdict_and_one_badge(story: Story) -> None:
    verdicts = story.all(VerdictRow)
    assert [each.outcome for each in verdicts] == ["verified"] * len(MODELS)
    assert len(story.all(Badge)) == len(MODELS)
    decided = [each for each in story.all(Event) if (each.subject, each.what) == ("claim", "decided")]
    assert len(decided) == len(MODELS)


def test_nothing_failed_or_was_lost_and_no_report_came_too_late(story: Story) -> None:
    runs = story.all(Reproduction)
    assert {(run.state, run.failures) for run in runs} == {(ReproductionState.COMPLETED, 0)}
    assert len(runs) == len(MODELS)
    outcomes = Counter(each.outcome for each in story.all(Attempt))
    assert outcomes[AttemptOutcome.COMPLETED] == len(MODELS)
    assert set(outcomes) == {AttemptOutcome.COMPLETED, AttemptOutcome.HANDED_BACK}
    assert not [each for each in story.all(Event) if each.what == "late_report"]


def test_what_the_ended_worker_had_finished_was_not_asked_again(story: Story) -> None:
    back = next(each for each in handed_back(story) if by(each) == "w1")
    assert back.partial_answers
    assert back.partial_answers >= 2
    run = next(each for each in story.all(Reproduction) if each.reproduction_id == back.reproduction_id)
    assert run.measurement is not None
    # More, where the run was handed back once more.
    assert run.measurement["resumed"]["answers"] >= back.partial_answers


def test_workers_are_wanted_for_as_long_as_there_is_work_and_no_longer(story: Story) -> None:
    assert story.scaler.too_few_wanted == []
    assert story.undecided == 0
    assert story.scaler.up == [], "scaled to zero"
