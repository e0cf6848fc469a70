"""A pool that is scaled down under its work loses none of it.

Real processes, and a scaler that does what KEDA and Kubernetes do: it asks `/v1/pools` how many workers are wanted,
starts them up to a maximum, and ends one that is too many with SIGTERM, whatever that one does. Batches run, wait for
the worker that has their model, and wait for any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import redis
from sqlalchemy import select

from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Badge, Event, Reproduction, VerdictRow, Worker
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome, WorkerState
from specs.queues import own_queue
from tests.support.real_farm import SAMPLES, WATCHED, RealFarm, real_farm

BENCHMARKS = tuple(f"acme/bench{number}" for number in range(6))
ALONE = {"batch": 1, "side_by_side": 1, "fetch_ahead": False}
POLICY = {**WATCHED, "run": {"heartbeat_seconds": 1.0, "lease_seconds": 120.0, **ALONE}}
"""One reproduction a batch: two are run, one waits for each of their workers, which have the model, and two for any."""

SECONDS = (5.0, 2.0, 0.02)
"""For an answer, of the first worker's engine, the second's and the third's, until all are told to hurry: the first is
far from done when it is told to stop, and the others make up for it."""

T = TypeVar("T", Attempt, Badge, Event, Reproduction, VerdictRow, Worker)


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
        # Each batch is one reproduction here.
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

    waited_for_it: str
    """What waited for the first worker alone."""

    in_its_queue: int
    """Messages in that worker's own queue, after it was ended and what waited there was to go to others."""

    undecided: int
    """Claims without a verdict when no worker was wanted any more."""

    database: Database

    def all(self, table: type[T]) -> list[T]:
        with self.database.reading() as session:
            return list(session.scalars(select(table)))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("scaled")
    questions = [f"{number} [slow] Say: yes" for number in range(SAMPLES)]
    with real_farm(folder, POLICY, dict.fromkeys(BENCHMARKS, questions)) as farm:
        farm.start_api()
        farm.wait(lambda: len([each for each in farm.claims() if each["state"] == "planned"]) == len(BENCHMARKS))
        scaler = Scaler(farm, maximum=2)
        farm.wait(lambda: bool(scaler.look()) and under_way(farm) == 2)
        farm.wait(lambda: in_redis(farm, "w1") == 1)
        (waited,) = sent_to(farm, "w1")
        scaler.maximum = 1
        pool = scaler.look()
        farm.wait(lambda: not sent_to(farm, "w1"))
        in_its_queue = in_redis(farm, "w1")
        scaler.maximum = 2
        farm.wait(lambda: scaler.look() and len(scaler.started) == 3)
        farm.hurry.touch()
        farm.wait(lambda: scaler.look()["workers_wanted"] == 0)
        undecided = len([each for each in farm.claims() if each["state"] != "decided"])
        farm.wait(lambda: all(each["badge"] for each in farm.claims()))
        yield Story(scaler, pool["queued"] + pool["dispatched"], waited, in_its_queue, undecided, farm.database)


def sent_to(farm: RealFarm, worker: str) -> list[str]:
    """What waits for one worker."""
    with farm.database.reading() as session:
        waits = Reproduction.state == ReproductionState.DISPATCHED, Reproduction.sent_to == f"{worker}@farm"
        return list(session.scalars(select(Reproduction.reproduction_id).where(*waits)))


def in_redis(farm: RealFarm, worker: str) -> int:
    """Messages in its own queue."""
    with redis.Redis.from_url(farm.broker) as client:
        return int(client.llen(own_queue("cpu", f"{worker}@farm")))


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


def test_what_waited_for_a_worker_that_is_ended_is_run_by_another(story: Story) -> None:
    why = [each.why for each in story.all(Event) if each.subject_id == story.waited_for_it]
    assert "worker w1@farm, for which it waited, takes nothing more" in why
    assert story.in_its_queue == 0
    assert "w1" not in {by(each) for each in story.all(Attempt) if each.reproduction_id == story.waited_for_it}
    # Whoever may be sent something is here no more.
    assert {each.state for each in story.all(Worker)} == {WorkerState.DRAINING}


def test_every_claim_has_one_verdict_and_one_badge(story: Story) -> None:
    verdicts = story.all(VerdictRow)
    assert [each.outcome for each in verdicts] == ["verified"] * len(BENCHMARKS)
    assert len(story.all(Badge)) == len(BENCHMARKS)
    decided = [each for each in story.all(Event) if (each.subject, each.what) == ("claim", "decided")]
    assert len(decided) == len(BENCHMARKS)


def test_nothing_failed_or_was_lost_and_no_report_came_too_late(story: Story) -> None:
    runs = story.all(Reproduction)
    assert {(run.state, run.failures) for run in runs} == {(ReproductionState.COMPLETED, 0)}
    assert len(runs) == len(BENCHMARKS)
    outcomes = Counter(each.outcome for each in story.all(Attempt) if each.worker is not None)
    assert outcomes[AttemptOutcome.COMPLETED] == len(BENCHMARKS)
    assert set(outcomes) == {AttemptOutcome.COMPLETED, AttemptOutcome.HANDED_BACK}
    not_begun = {each.outcome for each in story.all(Attempt) if each.worker is None}
    assert not_begun == {AttemptOutcome.INTERRUPTED}, "what waited for a worker that was ended"
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
