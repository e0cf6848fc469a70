from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.judging.prefix import FinishedPrefix
from specs.judging.sequential import SequentialDecider
from tests.support.stopping import fed, right_or_wrong, rule

N = 400
SCORES = right_or_wrong(N, 160)
STOPPING = rule(0.4, population=N, tolerance=0.09)


def decided_as_they_finish(places: list[int]) -> SequentialDecider:
    decider, prefix = SequentialDecider(STOPPING), FinishedPrefix(N)
    for place in places:
        if decider.feed(prefix.add(place, SCORES[place])):
            break
    return decider


@settings(max_examples=40)
@given(places=st.permutations(range(N)))
def test_the_order_in_which_samples_finish_changes_nothing(places: list[int]) -> None:
    in_order, decider = fed(STOPPING, SCORES), decided_as_they_finish(places)
    assert decider.seen == in_order.seen < N
    assert decider.findings() == in_order.findings()


def test_easy_questions_that_finish_first_do_not_shift_the_verdict() -> None:
    right_first = sorted(range(N), key=lambda place: -SCORES[place])
    decider = decided_as_they_finish(right_first)
    assert decider.findings() == fed(STOPPING, SCORES).findings()
    # Counted as they finish, the same answers look like a perfect score.
    careless = fed(STOPPING, [SCORES[place] for place in right_first])
    assert careless.findings()[0].decision == "mismatch"


def test_samples_behind_a_gap_wait() -> None:
    prefix = FinishedPrefix(4)
    assert prefix.add(2, 1.0) == []
    assert prefix.add(1, None) == []
    assert prefix.waiting == 2
    assert prefix.add(0, 0.5) == [0.5, None, 1.0]
    assert (prefix.released, prefix.waiting) == (3, 0)


@pytest.mark.parametrize(("place", "reason"), [(4, "outside"), (-1, "outside"), (0, "twice"), (2, "twice")])
def test_a_sample_that_cannot_be_is_refused(place: int, reason: str) -> None:
    prefix = FinishedPrefix(4)
    prefix.add(0, 1.0)
    prefix.add(2, 1.0)
    with pytest.raises(ValueError, match=reason):
        prefix.add(place, 0.0)


def test_an_engine_that_favours_short_answers_is_judged_like_any_other() -> None:
    rng = np.random.default_rng(2)
    seconds = np.array([1.0 if score else 3.0 for score in SCORES]) * rng.exponential(size=N)
    # 32 samples in flight: each starts when one before it finishes.
    free_at, finished = np.zeros(32), np.zeros(N)
    for place in range(N):
        worker = int(free_at.argmin())
        finished[place] = free_at[worker] = free_at[worker] + seconds[place]
    places = [int(place) for place in np.argsort(finished)]
    assert decided_as_they_finish(places).findings() == fed(STOPPING, SCORES).findings()
