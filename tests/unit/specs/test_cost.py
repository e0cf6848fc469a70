"""What a reproduction is taken to cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specs.policy.cost import (
    CPU_BYTES_PER_SECOND,
    GPU_BYTES_PER_SECOND,
    START_SECONDS,
    EarlierRun,
    Work,
    asking_seconds,
    estimate,
)

GB = 10**9
WORK = Work(weights_bytes=16 * GB, gpus=1, held_gpus=1, samples=1000, epochs=1, max_tokens=2000, concurrency=32)


def test_without_history_it_is_the_start_and_one_read_of_the_weights_a_step() -> None:
    asked = 1000 * 2000 * 16 * GB / (GPU_BYTES_PER_SECOND * 32)
    found = estimate(WORK, [])
    assert found.gpu_seconds == pytest.approx(START_SECONDS + 16 + asked)
    assert found.basis == "1000 samples, 2000 tokens an answer, no earlier run"


def test_more_gpus_are_paid_for_while_they_start_and_not_while_they_share_the_work() -> None:
    one, four = estimate(WORK, []).gpu_seconds, estimate(replace(WORK, gpus=4, held_gpus=4), []).gpu_seconds
    assert four - one == pytest.approx(3 * (START_SECONDS + 16))


def test_gpus_that_are_held_and_do_nothing_cost_what_they_would_if_they_worked() -> None:
    # A model that one GPU of eight holds takes as long as on one, and eight are taken meanwhile.
    alone, beside_seven = estimate(WORK, []).gpu_seconds, estimate(replace(WORK, held_gpus=8), []).gpu_seconds
    assert beside_seven == pytest.approx(8 * alone)
    assert asking_seconds(beside_seven, WORK.weights_bytes, 8) == pytest.approx(
        asking_seconds(alone, WORK.weights_bytes, 1)
    )


def test_a_cpu_worker_counts_as_one() -> None:
    asked = 1000 * 2000 * 16 * GB / (CPU_BYTES_PER_SECOND * 32)
    assert estimate(replace(WORK, gpus=0, held_gpus=0), []).gpu_seconds == pytest.approx(START_SECONDS + 16 + asked)


def test_what_is_assumed_is_said() -> None:
    found = estimate(replace(WORK, samples=None, max_tokens=None), [])
    assert found.basis == "1000 samples assumed, 512 tokens an answer assumed, no earlier run"


def test_epochs_are_answers_too() -> None:
    start = START_SECONDS + 16
    once, twice = estimate(WORK, []).gpu_seconds, estimate(replace(WORK, epochs=2), []).gpu_seconds
    assert twice - start == pytest.approx(2 * (once - start))


def test_history_goes_before_assumptions_in_proportion_to_the_weights() -> None:
    # 2 GPU-seconds an answer at half the size; one run that hung does not count for more than one.
    typical = EarlierRun(weights_bytes=8 * GB, gpus=2, seconds=100, answers=100)
    found = estimate(WORK, [typical, replace(typical, seconds=99_999), typical])
    assert found.gpu_seconds == pytest.approx(START_SECONDS + 16 + 1000 * 4)
    assert found.basis == "1000 samples, as 3 earlier runs took"


def test_a_run_without_answers_tells_nothing() -> None:
    assert estimate(WORK, [EarlierRun(8 * GB, 2, 100, 0)]) == estimate(WORK, [])


def test_experts_that_no_answer_is_sent_to_are_not_read() -> None:
    start = START_SECONDS + 16
    whole = estimate(WORK, []).gpu_seconds - start
    assert estimate(replace(WORK, read_part=0.25), []).gpu_seconds - start == pytest.approx(whole / 4)
