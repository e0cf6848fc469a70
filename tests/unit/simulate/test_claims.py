"""What is claimed on a simulated day, what becomes of it, and that a second run of a task of a model is the last."""

from __future__ import annotations

import random

import numpy as np
import pytest

from deploy.simulate.arrivals import DAY, Day, SimulatedModel, Submission
from deploy.simulate.claims import OFF_BY, false
from deploy.simulate.conditions import Conditions
from deploy.simulate.fleet import FLEET, need_of, smaller
from deploy.simulate.judged import judged
from deploy.simulate.run import DayOutcome, simulate
from deploy.simulate.sizes import FAMILIES, TASKS
from scheduler.admission.priorities import AUTHOR_PRIORITY, PERIODIC_PRIORITY
from specs.judging.verdict import Outcome

GSM8K = TASKS[0]
SMALLEST = next(each for each in FAMILIES if "135M" in each.name)


def claim(at: float, claimed: float, priority: int = AUTHOR_PRIORITY) -> Submission:
    return Submission(at, SimulatedModel("org/model", SMALLEST), GSM8K, priority, claimed, 0.5)


def day(*submissions: Submission) -> DayOutcome:
    return simulate(smaller(FLEET, 0.01), list(submissions), Conditions())


def test_about_a_tenth_of_the_claims_is_false_and_the_day_is_the_same_but_for_them() -> None:
    some, none = Day(1, 5000).submissions(), Day(1, 5000, false=0.0).submissions()
    assert sum(each.is_false for each in some) == pytest.approx(0.1 * len(some), rel=0.15)
    assert not any(each.is_false for each in none)
    for one, other in zip(some, none, strict=True):
        assert (one.at, one.model, one.task, one.priority, one.score) == (
            other.at,
            other.model,
            other.task,
            other.priority,
            other.score,
        )
        assert one.is_false or one.claimed == other.claimed
    off = [each.claimed - each.score for each in some if each.is_false]
    assert all(0 < each <= max(OFF_BY) + 0.001 for each in off)


@pytest.mark.parametrize("score", [0.0, 0.9, 1.0])
def test_a_false_claim_is_never_what_all_samples_give(score: float) -> None:
    for seed in range(50):
        claimed = false(score, random.Random(seed))  # noqa: S311 - no secret
        # Too high, but of a model that has everything right, of which nobody can claim more.
        assert claimed < score if score == 1 else claimed > score
        assert 0 <= claimed <= 1


def test_honest_claims_differ_from_what_all_samples_give_by_less_the_more_there_are() -> None:
    claims = Day(1, 5000, false=0.0).submissions()
    by_task = {
        task.samples: np.std([each.claimed - each.score for each in claims if each.task is task]) for task in TASKS
    }
    assert sorted(by_task.values(), reverse=True) == [by_task[samples] for samples in sorted(by_task)]
    # As much as a tenth of the answers turned: 2.2 points of 198, less what five quantiles and the ends cut off.
    assert by_task[198] == pytest.approx(0.0225, rel=0.25)


def test_the_second_run_asks_every_sample_and_answers_what_comes_after_it() -> None:
    claims = [claim(DAY / 10 * n, claimed) for n, claimed in enumerate((0.5, 0.502, 0.499, 0.8))]
    found = day(*claims)
    first, second = found.runs
    assert first.samples is not None
    assert (first.samples < GSM8K.samples, second.samples) == (True, GSM8K.samples)
    assert found.answered_at_once == 2
    assert [each.outcome for each in found.decided] == [Outcome.VERIFIED] * 3 + [Outcome.MISMATCH]


def test_the_farm_knows_beforehand_that_a_second_run_takes_longer() -> None:
    first, second = (need_of(claim(0.0, 0.5), every_sample=every) for every in (False, True))
    assert first is not None
    assert second is not None
    assert second.answers == GSM8K.samples > first.answers
    assert second.run_seconds > first.run_seconds
    assert second.answer_seconds == pytest.approx(first.answer_seconds)


def test_claims_join_a_second_run_while_it_is_under_way_and_a_first_one_only_before_it_is_sent() -> None:
    gap = 1.0
    found = day(*(claim(gap * n, 0.5) for n in range(5)))
    assert [len(run.claims) for run in found.runs] == [1, 4]
    assert all(seconds >= 0 for each in found.waited.values() for seconds in each)


def test_what_is_asked_for_anew_gets_a_run_of_its_own_that_may_stop_early() -> None:
    times = (DAY / 10 * n for n in range(5))
    found = day(
        claim(next(times), 0.5),
        claim(next(times), 0.5),
        claim(next(times), 0.5, PERIODIC_PRIORITY),
        claim(next(times), 0.5),
        claim(next(times), 0.5),
    )
    # What was run before answers no more, and another run after it is the second once more.
    assert [run.every_sample for run in found.runs] == [False, True, False, True]
    assert found.answered_at_once == 1


def test_a_run_goes_on_until_its_last_claim_has_its_answer() -> None:
    near, far = claim(0.0, 0.54), claim(0.0, 0.9)
    alone = [day(each).runs[0].samples for each in (near, far)]
    (together,) = day(near, far).runs
    assert together.samples == max(each for each in alone if each is not None)


def test_what_two_honest_runs_may_differ_by_is_no_mismatch_and_what_is_far_off_takes_a_part_of_the_samples() -> None:
    # 4.2 points off on 1,319 questions: beyond the tolerance, and two honest runs may differ by as much.
    assert judged(GSM8K, 0.542, 0.5).by_all is Outcome.INCONCLUSIVE
    assert judged(GSM8K, 0.6, 0.5).by_all is Outcome.MISMATCH
    assert np.mean(judged(GSM8K, 0.6, 0.5).samples) < 0.7 * GSM8K.samples
