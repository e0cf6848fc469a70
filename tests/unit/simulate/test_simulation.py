"""A small fleet's day: nothing is lost, the same seed gives the same day, and what spares engine loads and waiting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.simulate.arrivals import DAY, Day, SimulatedModel, Submission
from deploy.simulate.conditions import Conditions
from deploy.simulate.fleet import FLEET, need_of, smaller
from deploy.simulate.report import FALSE, HONEST, AtRate, figures, knee
from deploy.simulate.run import simulate
from deploy.simulate.sizes import FAMILIES, TASKS
from deploy.simulate.worker import Doing
from scheduler.admission.priorities import AUTHOR_PRIORITY
from specs.judging.verdict import Outcome

SMALL = smaller(FLEET, 0.02)
CLAIMS = 400.0
"""Of a day that most tests share: what is dear is to find out what becomes of its claims, and that is remembered."""
FARM, NO_AFFINITY, ALONE = Conditions(), Conditions(affinity=False), Conditions(affinity=False, alone=True)
EVERYTHING = Conditions(sleep=True, downloads=True, losses_a_day=5)


def test_the_fleet_has_a_thousand_gpus() -> None:
    assert sum(pool.gpus for pool in FLEET) == 1000


def test_every_size_of_model_has_its_place_by_the_farms_own_reckoning() -> None:
    def pool_of(name: str) -> str | None:
        family = next(each for each in FAMILIES if each.name == name)
        need = need_of(Submission(0.0, SimulatedModel("m", family), TASKS[0], AUTHOR_PRIORITY, 0.5, 0.5))
        return need.pool if need is not None else None

    assert pool_of("HuggingFaceTB/SmolLM2-135M-Instruct") == "gpu-24"
    assert pool_of("Qwen/Qwen2.5-14B-Instruct") == "gpu-80"
    assert pool_of("meta-llama/Meta-Llama-3-70B") == "gpu-80x4"
    assert pool_of("meta-llama/Llama-3.1-405B-Instruct") == "gpu-141x8"


def test_the_same_seed_gives_the_same_day() -> None:
    assert Day(7, CLAIMS).submissions() == Day(7, CLAIMS).submissions()
    assert Day(7, CLAIMS).submissions() != Day(8, CLAIMS).submissions()


def test_about_as_many_claims_come_as_were_asked_for_and_more_by_day_than_by_night() -> None:
    submissions = [each for each in Day(1, 20_000).submissions() if not each.model.name.startswith("released/")]
    assert len(submissions) == pytest.approx(20_000, rel=0.05)
    assert all(0 <= each.at < DAY for each in submissions)
    by_night = sum(each.at < DAY / 3 for each in submissions)
    assert by_night < len(submissions) / 3


@pytest.mark.parametrize("conditions", [FARM, NO_AFFINITY, ALONE, EVERYTHING])
def test_every_claim_is_counted_once_whether_or_not_the_day_was_long_enough(conditions: Conditions) -> None:
    submissions = Day(1, CLAIMS).submissions()
    outcome = simulate(SMALL, submissions, conditions)
    assert sum(map(len, outcome.waited.values())) + outcome.answered_at_once == len(submissions)
    assert all(0 <= seconds <= DAY for each in outcome.waited.values() for seconds in each)
    assert 0.9 * len(submissions) < len(outcome.decided) + outcome.failed <= len(submissions)
    assert len({id(each.claim) for each in outcome.decided}) == len(outcome.decided)
    assert sum(map(len, outcome.took.values())) + outcome.answered_at_once == len(outcome.decided)
    for state in outcome.pools:
        assert all(seconds >= 0 for seconds in state.held.values())
        assert sum(state.held.values()) <= state.pool.workers * DAY
    found = figures(outcome)
    assert 0 < found.utilisation < 1
    assert found.claims == len(submissions)


@pytest.mark.parametrize("conditions", [FARM, EVERYTHING])
def test_a_day_comes_out_the_same_again(conditions: Conditions) -> None:
    submissions = Day(1, CLAIMS).submissions()
    assert figures(simulate(SMALL, submissions, conditions)) == figures(simulate(SMALL, submissions, conditions))


def test_the_report_counts_what_became_of_honest_and_of_false_claims() -> None:
    found = figures(simulate(SMALL, Day(1, CLAIMS).submissions(), FARM))
    honest, false = found.became[HONEST], found.became[FALSE]
    assert honest.claims + false.claims == found.verdicts
    assert sum(honest.verdicts.values()) == honest.claims
    assert honest.part(Outcome.MISMATCH) < 0.01
    assert honest.part(Outcome.VERIFIED) > 0.9
    assert false.part(Outcome.MISMATCH) > 0.3
    assert 0 < found.asked < 1
    assert 0 < found.every_sample < found.runs


def test_the_farms_way_spares_engine_loads_and_no_author_waits_longer_for_it() -> None:
    fleet, submissions = smaller(FLEET, 0.03), Day(1, CLAIMS).submissions()
    farm, without, alone = (figures(simulate(fleet, submissions, each)) for each in (FARM, NO_AFFINITY, ALONE))
    assert farm.loads_per_verdict < without.loads_per_verdict < alone.loads_per_verdict
    assert farm.loads_per_verdict < 0.87 * alone.loads_per_verdict
    for ours, theirs in ((farm.waited, alone.waited), (farm.took, alone.took)):
        for mine, other in zip(ours[AUTHOR_PRIORITY], theirs[AUTHOR_PRIORITY], strict=True):
            # p99 of so small a fleet is a handful of claims, which a run's luck moves.
            assert mine <= 1.05 * other


def test_sleeping_engines_spare_loads_and_fetching_ahead_or_a_disk_for_all_spares_waiting_for_weights() -> None:
    submissions = Day(1, CLAIMS).submissions()

    def of(conditions: Conditions) -> dict[str, float]:
        found = figures(simulate(SMALL, submissions, conditions))
        return {**found.held_per_verdict, "loads": found.loads_per_verdict, "wakes": found.wakes_per_verdict}

    nothing, asleep = of(FARM), of(Conditions(sleep=True))
    assert asleep["loads"] < nothing["loads"]
    assert (nothing["wakes"], nothing[Doing.FETCHING]) == (0, 0)
    assert asleep["wakes"] > 0
    late, ahead = of(Conditions(downloads=True, fetch_ahead=False)), of(Conditions(downloads=True))
    assert 0 < ahead[Doing.FETCHING] < late[Doing.FETCHING]
    shared = of(Conditions(downloads=True, shared_disks=True))
    assert 0 < shared[Doing.FETCHING] < ahead[Doing.FETCHING]


def test_a_run_takes_the_same_however_it_is_sent_out() -> None:
    (submission,) = Day(1, CLAIMS).submissions()[:1]
    ways = [simulate(SMALL, [submission], each) for each in (FARM, NO_AFFINITY)]
    assert ways[0].took == ways[1].took


def test_the_knee_is_the_first_rate_at_which_waiting_explodes() -> None:
    one = figures(simulate(SMALL, Day(1, CLAIMS).submissions(), FARM))
    rising = ((1.0, 10.0), (2.0, 90.0), (3.0, 101.0))
    rates = [AtRate(rate, replace(one, p99_waited=seconds), one) for rate, seconds in rising]
    assert knee(rates) == 3.0
    assert knee(rates[:2]) is None
