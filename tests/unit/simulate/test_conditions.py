"""What else may happen on a simulated day: engines sleep, weights are fetched, workers are lost."""

from __future__ import annotations

import pytest

from deploy.simulate.arrivals import DAY, SimulatedModel, Submission
from deploy.simulate.conditions import REPLACED_SECONDS, Conditions, copy_seconds, download_seconds
from deploy.simulate.fleet import FLEET, Need, need_of, smaller
from deploy.simulate.pools import PoolState
from deploy.simulate.run import DayOutcome, simulate
from deploy.simulate.sizes import FAMILIES, TASKS
from deploy.simulate.work import Batch, Run
from deploy.simulate.worker import Doing, Worker
from scheduler.admission.priorities import AUTHOR_PRIORITY
from scheduler.collect.retrying import FIRST_RETRY_SECONDS
from specs.policy.run import RunRules

GB = 10**9
SMALLEST = next(each for each in FAMILIES if "135M" in each.name)
SLEEPING, DOWNLOADING = Conditions(sleep=True), Conditions(downloads=True)


def batch(engine: str, gigabytes: int = 10, priority: int = 20) -> Batch:
    need = Need("gpu-80", gigabytes * GB, load_seconds=70.0, run_seconds=100.0, answers=1000)
    return Batch((Run(engine, TASKS[0], priority, 0.0, need),))


def worker(host_gib: int = 64) -> Worker:
    return Worker("w", FLEET[1].rules, host_gib * 2**30)


def serve(one: Worker, engine: str, conditions: Conditions, at: float = 0.0, gigabytes: int = 10) -> list[Doing]:
    """What a worker does until it can run a batch."""
    return [doing for doing, _ in one.get_ready(batch(engine, gigabytes), conditions, at)]


def test_an_engine_that_gave_way_is_woken() -> None:
    one = worker()
    assert serve(one, "a", SLEEPING) == [Doing.LOADING]
    assert serve(one, "b", SLEEPING) == [Doing.SETTING_ASIDE, Doing.LOADING]
    assert one.engines == {"a", "b"}
    assert serve(one, "a", SLEEPING) == [Doing.SETTING_ASIDE, Doing.WAKING]
    assert serve(one, "a", SLEEPING) == []
    assert serve(worker(), "a", Conditions()) == [Doing.LOADING]


def test_the_host_holds_as_many_as_the_workers_own_rule_says_and_the_wanted_one_stays() -> None:
    one = worker(64)
    for engine in "abcd":
        serve(one, engine, SLEEPING, gigabytes=20)
    assert list(one.asleep) == ["b", "c"], "of 64 GiB a tenth is kept free, and the oldest ended"
    serve(one, "b", SLEEPING, gigabytes=20)
    assert (list(one.asleep), one.engine) == (["d"], "b"), "what is wanted does not make room"


def test_a_run_waits_for_weights_that_are_on_their_way_and_for_those_that_are_not_for_longer() -> None:
    ahead, weights = worker(), 10 * GB
    ahead.fetch_ahead(batch("a"), at=5.0)
    (fetching, loading) = ahead.get_ready(batch("a"), DOWNLOADING, at=10.0)
    assert (fetching[0], loading[0]) == (Doing.FETCHING, Doing.LOADING)
    assert fetching[1] == pytest.approx(download_seconds(weights) - 5.0)
    (fetching, _) = worker().get_ready(batch("a"), DOWNLOADING, at=10.0)
    assert fetching == (Doing.FETCHING, download_seconds(weights))
    assert serve(ahead, "a", DOWNLOADING, at=100.0) == []


def test_a_hint_that_comes_while_another_is_followed_is_forgotten() -> None:
    one = worker()
    one.fetch_ahead(batch("a"), at=0.0)
    one.fetch_ahead(batch("b"), at=1.0)
    assert list(one.disk.models) == ["a"]
    one.fetch_ahead(batch("b"), at=download_seconds(10 * GB))
    assert list(one.disk.models) == ["a", "b"]


def test_the_planner_sees_the_engine_of_the_batch_that_a_worker_begins() -> None:
    state = PoolState(smaller(FLEET, 0.1)[1], Conditions())
    one = next(iter(state.workers.values()))
    one.loaded = "before", GB
    state.note_engines(one)
    one.begin(batch("next"), 100.0)
    state.note_engines(one)
    seat = one.seat(100.0)
    assert (seat.idle, seat.loaded, seat.free_in) == (False, "next", 170.0)
    before, (run,) = Run("before", TASKS[0], 20, 90.0, batch("x").need), batch("next").runs
    state.queue(before)
    state.queue(run)
    assert [each.name for each in state._seats(100.0)] == [one.name], "for `next`; what it had is gone"
    assert before.engine not in one.engines


def losing(losses_a_day: float, count: int = 60) -> DayOutcome:
    """Claims for a model each that come one every ten minutes."""
    models = [SimulatedModel(f"org/model{n}", SMALLEST) for n in range(count)]
    submissions = [Submission(600.0 * n, model, TASKS[0], AUTHOR_PRIORITY, 0.5, 0.5) for n, model in enumerate(models)]
    return simulate(smaller(FLEET, 0.001), submissions, Conditions(losses_a_day=losses_a_day))


def test_what_was_lost_is_tried_again_after_its_lease_and_the_farms_own_pause() -> None:
    model = SimulatedModel("org/model", SMALLEST)
    need = need_of(Submission(0.0, model, TASKS[0], AUTHOR_PRIORITY, 0.5, 0.5))
    assert need is not None
    quiet, lossy = losing(0), losing(50)
    assert (quiet.failed, sum(state.losses for state in quiet.pools)) == (0, 0)
    assert sum(state.losses for state in lossy.pools) > 50
    least = RunRules().lease_seconds + FIRST_RETRY_SECONDS
    longest = max(lossy.took[AUTHOR_PRIORITY])
    assert longest > max(quiet.took[AUTHOR_PRIORITY]) + least
    assert len(lossy.decided) + lossy.failed == len(lossy.waited[AUTHOR_PRIORITY]) == 60


def test_workers_that_are_always_lost_end_in_failures_and_not_in_endless_attempts() -> None:
    hopeless = losing(DAY / 5)
    assert hopeless.decided == []
    # Two workers died over each: policy's `run.worker_deaths`.
    assert hopeless.failed > 50


def test_a_run_of_which_an_attempt_was_lost_runs_beside_no_other() -> None:
    runs = [each for name in "ab" for each in batch(name).runs]
    together = Batch(tuple(runs)).spans(2)
    assert together[1].began == 0
    runs[1].failures = 1
    after = Batch(tuple(runs)).spans(2)
    assert after[1].began == after[0].ended


def test_copying_takes_as_long_for_each_gpu_as_its_part() -> None:
    assert copy_seconds(80 * GB, 8) - copy_seconds(0, 8) == pytest.approx(1.0)
    assert RunRules().lease_seconds < REPLACED_SECONDS
