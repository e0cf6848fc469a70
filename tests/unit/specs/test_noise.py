from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from specs.judging.noise import LEAST_MODELS, LEAST_OVERLAP, Difference, Noise, Pair, difference, model_class, noise_in
from specs.judging.tolerance import (
    LEAST_TOLERANCE,
    NORMAL_99,
    chance_between_runs,
    chance_of_coins,
    measured_tolerance,
)
from specs.measurement import Scores

POPULATION = 2000


def honest_runs(
    count: int, seed: int, *, samples: int = POPULATION, shift: float = 0.0, asked: float = 1.0
) -> list[Scores]:
    """Runs of a model that is sure of most samples; each asks a random part of them, and may be shifted as a whole."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.3, 0.3, POPULATION)[:samples]
    runs: list[Scores] = []
    for _ in range(count):
        moved = np.clip(chances + rng.normal(0, shift), 0, 1)
        right = rng.random(samples) < moved
        order = rng.permutation(samples)[: round(asked * samples)]
        runs.append({int(sample): float(right[sample]) for sample in order})
    return runs


def all_pairs(runs: list[Scores], name: str = "run") -> list[Pair]:
    found: list[Pair] = []
    for one, other in combinations(range(len(runs)), 2):
        between = difference(runs[other], runs[one])
        if between is not None:
            # Of as many models as are needed: the tests are about runs.
            model = str(len(found) % LEAST_MODELS)
            found.append(Pair(f"{name}{other}", f"{name}{one}", model, model, between))
    return found


def spread_between_full_runs(shift: float = 0.0) -> float:
    """Seen on two thousand pairs, without the formula."""
    rng = np.random.default_rng(99)
    chances = np.random.default_rng(7).beta(0.3, 0.3, POPULATION)
    scores = [(rng.random(POPULATION) < np.clip(chances + rng.normal(0, shift), 0, 1)).mean() for _ in range(4000)]
    return float(np.std(np.array(scores[::2]) - np.array(scores[1::2])))


def pair(
    samples: int, mean: float, mean_square: float, later: str = "b", earlier: str = "a", score: float = 0.5
) -> Pair:
    return Pair(
        later, earlier, f"weights of {later}", f"author of {later}", Difference(samples, mean, mean_square, score)
    )


def test_full_runs_recover_the_spread_between_full_runs() -> None:
    found = noise_in(all_pairs(honest_runs(5, 7)))
    assert (found.pairs, found.comparisons, found.samples) == (10, 4, 10 * POPULATION)
    assert found.shift_variance == 0
    spread = found.spread(POPULATION)
    assert spread is not None
    assert 1.0 <= spread / spread_between_full_runs() < 1.1


def test_parts_of_runs_recover_the_spread_between_full_ones() -> None:
    found = noise_in(all_pairs(honest_runs(6, 7, asked=0.3)))
    assert found.samples == pytest.approx(15 * 0.09 * POPULATION, rel=0.1)
    spread = found.spread(POPULATION)
    assert spread is not None
    assert 1.0 <= spread / spread_between_full_runs() < 1.25


def test_only_samples_that_both_runs_scored_count() -> None:
    first: Scores = dict.fromkeys(range(30), 1.0)
    second: Scores = {number: None if number == 29 else 0.5 if number < 10 else 1.0 for number in range(5, 40)}
    found = difference(second, first)
    assert found is not None
    assert (found.samples, found.mean) == (24, -2.5 / 24)
    assert found.mean_square == pytest.approx(1.25 / 24)
    # Of 24, the later run has 19 right and 10 halves less one that it shares none of.
    assert found.score == pytest.approx((24 + 24 - 2.5) / 48)
    few: Scores = dict.fromkeys(range(LEAST_OVERLAP - 1), 1.0)
    assert difference(few, first) is None


def test_what_moves_whole_runs_is_found_where_samples_cannot_explain_it() -> None:
    shifted = noise_in(all_pairs(honest_runs(9, 7, shift=0.05)))
    assert shifted.shift_variance > 0
    seen = math.sqrt(shifted.mean_square_bound / POPULATION + shifted.shift_variance)
    assert seen == pytest.approx(spread_between_full_runs(shift=0.05), rel=0.5)
    assert seen > 3 * spread_between_full_runs()
    # It is what coins do that counts: whoever publishes a model can have it shift.
    assert shifted.spread(POPULATION) == pytest.approx(math.sqrt(0.5 / POPULATION), rel=0.01)
    # Where samples explain less than coins do, a shift in between counts as it is.
    slight = noise_in([pair(POPULATION, 0.01, 0.02, f"later{n}", f"earlier{n}") for n in range(3)])
    assert slight.shift_variance == pytest.approx(0.01**2 - 0.02 / POPULATION)
    assert slight.spread(POPULATION) == math.sqrt(slight.mean_square_bound / POPULATION + slight.shift_variance)


@pytest.mark.parametrize("score", [0.03, 0.6, 1.0])
def test_runs_that_were_made_to_shift_make_no_claim_less_sure_than_coins_do(score: float) -> None:
    # Two runs of each of three models by three authors, whose templates turn 30 % of the answers by the date.
    shifted = [pair(1319, -0.3, 0.3, f"later{n}", f"earlier{n}", 0.45) for n in range(3)]
    honest = [pair(1319, 0.003, 0.05, f"honest{n}", f"before{n}", 0.6) for n in range(20)]
    for pairs in (shifted, honest + shifted):
        found = noise_in(pairs)
        assert found.shift_variance > 0
        spread = found.spread(1319, score)
        assert spread is not None
        assert NORMAL_99 * spread <= chance_between_runs(score, 1319, 1319) + 1e-12
        assert measured_tolerance(spread) <= max(LEAST_TOLERANCE, math.sqrt(2) * chance_of_coins(score, 1319)) + 1e-12


def test_chance_is_seldom_taken_for_a_shift() -> None:
    found = [noise_in(all_pairs(honest_runs(5, seed, samples=200))) for seed in range(300)]
    assert sum(each.shift_variance > 0 for each in found) <= 12, "1 % of 300, and what chance adds to it"


def test_the_bound_is_above_the_truth_in_nearly_all_cases() -> None:
    chances = [np.random.default_rng(seed).beta(0.3, 0.3, POPULATION)[:100] for seed in range(300)]
    too_low = 0
    for seed, each in enumerate(chances):
        truth = float((2 * each * (1 - each)).mean())
        too_low += noise_in(all_pairs(honest_runs(4, seed, samples=100))).mean_square_bound < truth
    assert too_low <= 25, "5 % of 300, and what chance adds to it"


def test_too_few_pairs_or_samples_say_nothing() -> None:
    def three(samples: int) -> Noise:
        return noise_in([pair(samples, 0.0, 0.1, f"later{n}", f"earlier{n}") for n in range(3)])

    assert three(67).spread(100) is not None
    assert three(66).spread(100) is None
    triangle = [pair(1000, 0.0, 0.1, "b", "a"), pair(1000, 0.0, 0.1, "c", "a"), pair(1000, 0.0, 0.1, "c", "b")]
    assert noise_in(triangle).comparisons == 2
    assert noise_in(triangle).spread(100) is None
    with pytest.raises(ValueError, match="no pairs"):
        noise_in([])


@pytest.mark.parametrize(("models", "authors", "known"), [(2, 2, False), (3, 2, False), (2, 3, False), (3, 3, True)])
def test_two_models_or_authors_say_nothing_of_others_however_often_they_were_run(
    models: int, authors: int, known: bool
) -> None:
    same = Difference(500, 0.0, 0.0, 0.5)
    pairs = [Pair(f"later{n}", f"earlier{n}", str(n % models), str(n % authors), same) for n in range(12)]
    assert (noise_in(pairs).spread(200) is not None) == known


def test_what_was_measured_at_one_score_is_carried_over_to_another() -> None:
    # Models that toss a coin for each answer, and have 3 % right: their scores hardly can differ.
    weak = noise_in([pair(2000, 0.0, 2 * 0.03 * 0.97, f"later{n}", f"earlier{n}", 0.03) for n in range(4)])
    coins = math.sqrt(2 * 0.5 * 0.5 / 198)
    own, at_half = weak.spread(198), weak.spread(198, 0.5)
    assert own is not None
    assert at_half is not None
    assert own < 0.4 * coins
    # The bound on the 3 % is above what coins do, and nothing does more than they.
    assert at_half == pytest.approx(coins)
    # Models that turn a tenth of the answers that coins would turn do so at any score.
    sure = noise_in([pair(2000, 0.0, 0.1 * 2 * 0.8 * 0.2, f"later{n}", f"earlier{n}", 0.8) for n in range(4)])
    at_half = sure.spread(198, 0.5)
    assert at_half is not None
    assert at_half == pytest.approx(math.sqrt(0.1) * coins, rel=0.1)


@pytest.mark.parametrize(("right", "asked"), [(0.98, 200), (0.03, 200), (0.995, 200), (0.98, 600)])
def test_pairs_with_little_in_common_make_no_run_surer_than_it_is(right: float, asked: int) -> None:
    # Runs with a limit of 200 of 1,319 samples have some thirty in common, fewer than show an error of 2 % for sure.
    samples, truth = 1319, math.sqrt(2 * right * (1 - right) / 1319)
    too_low = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        runs: list[Scores] = [
            {int(sample): float(rng.random() < right) for sample in rng.permutation(samples)[:asked]} for _ in range(16)
        ]
        pairs = [
            Pair(f"later{n}", f"earlier{n}", str(n), str(n), found)
            for n in range(8)
            if (found := difference(runs[2 * n], runs[2 * n + 1])) is not None
        ]
        spread = noise_in(pairs).spread(samples, right)
        assert spread is not None or asked < samples
        too_low += spread is not None and spread < truth * (1 - 1e-9)
    assert too_low <= 5, "5 % of 50, and what chance adds to it"


def test_runs_that_all_had_everything_right_leave_to_other_scores_what_coins_do() -> None:
    found = noise_in([pair(200, 0.0, 0.0, f"later{n}", f"earlier{n}", 1.0) for n in range(3)])
    assert found.spread(198, 0.5) == pytest.approx(math.sqrt(2 * 0.5 * 0.5 / 198))


def test_runs_that_never_differed_have_a_spread_all_the_same() -> None:
    found = noise_in([pair(200, 0.0, 0.0, f"later{n}", f"earlier{n}") for n in range(3)])
    spread = found.spread(200)
    assert spread is not None
    # Of 600 samples none differed; up to 2.7 of 603 may.
    assert spread == pytest.approx(math.sqrt(1.645**2 / (600 + 1.645**2) / 200))


@pytest.mark.parametrize(
    ("weights_bytes", "name"),
    [
        (270_000_000, "below 1B"),
        (2_000_000_000, "1B to 4B"),
        (16_060_522_496, "4B to 16B"),
        (65_000_000_000, "16B to 64B"),
        (141_000_000_000, "64B and more"),
    ],
)
def test_models_are_told_apart_by_the_size_of_their_weights(weights_bytes: int, name: str) -> None:
    assert model_class(weights_bytes) == name
