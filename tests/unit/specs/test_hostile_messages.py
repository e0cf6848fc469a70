"""Messages that no worker of ours sends: each is refused with a sentence that is safe in a log."""

from __future__ import annotations

from typing import Any

import pytest

from specs.errors import MessageError
from specs.measurement import MAX_POPULATION
from specs.messages import MAX_ORDERS, AttemptsAlive, Report
from specs.text import is_clean
from tests.support.rows import measurement

REF = {"reproduction_id": "r1", "attempt": 1}
ALIVE: dict[str, Any] = {"version": 1, "worker": "w", "batch_id": "b", "pool": "cpu"}
ALIVE["progress"] = [{"ref": REF, "stage": "running"}]


def report(**measured: object) -> dict[str, Any]:
    """A worker's report, with other figures."""
    commit = "a" * 40
    return {
        "version": 1,
        "ref": REF,
        "worker": "w",
        "model": {"model_id": "o/m", "revision": commit},
        "task": {"dataset_id": "o/d", "revision": commit, "task_id": None, "spec_sha256": "b" * 64},
        "outcome": "completed",
        "detail": "",
        "measurement": {**measurement().model_dump(mode="json"), **measured},
        "evidence": {"sha256": "c" * 64, "size_bytes": 10},
    }


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def test_the_report_that_the_others_are_made_of_is_one() -> None:
    assert Report.decode(report()).measurement == measurement()


@pytest.mark.parametrize(
    "figures",
    [
        {"score": 1.5},
        {"score": float("nan")},
        {"score": float("inf")},
        {"sample_scores": [2.0] * len(measurement().sample_ids)},
        {"sample_scores": [1.0]},
        {"population": 1},
        {"population": MAX_POPULATION + 1},
        {"population": 10**30},
        {"sample_ids": [1] * len(measurement().sample_ids)},
        {"truncated": -1},
        {"output_tokens": 10**30},
        {"ignored": 2**63},
        {"started_at": "0001-01-01T00:00:00+14:00"},
        {"ended_at": "9999-12-31T23:59:59-14:00"},
        {"ended_at": "2026-03-01T12:00:00"},
        {"circumstances": {**measurement().circumstances.model_dump(mode="json"), "epochs": 10**12}},
        {"circumstances": {**measurement().circumstances.model_dump(mode="json"), "versions": {"vllm": "0.9\0"}}},
        {"circumstances": {**measurement().circumstances.model_dump(mode="json"), "hardware": "x" * 501}},
        {"scorer": "\x1b[31m"},
        {"sample_ids": [f"{n}\0" for n in measurement().sample_ids]},
        {"sample_ids": [f"{n:01001}" for n in range(len(measurement().sample_ids))]},
        {"more": "keys"},
    ],
    ids=lambda figures: str(figures)[:100],
)
def test_a_report_with_impossible_figures_is_refused(figures: dict[str, object]) -> None:
    with pytest.raises(MessageError, match="not a Report") as caught:
        Report.decode(report(**figures))
    assert is_clean(str(caught.value))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "x" * 100_000},
        {"version": "\x1b[2J"},
        {"worker": "w\x1b[31m"},
        {"worker": "w\x00"},
        {"worker": "x" * 201},
        {"batch_id": "b\u202e"},
        {"pool": nested(50_000)},
        {"pool": {1, 2}},
        {"progress": [{"ref": {"reproduction_id": "r\n1", "attempt": 1}, "stage": "running"}]},
        {"progress": [{"ref": {"reproduction_id": "r1", "attempt": 2**31}, "stage": "running"}]},
        {"progress": [{"ref": REF, "stage": "running", "samples_done": 10**400}]},
        {"progress": []},
        {"progress": ALIVE["progress"] * (MAX_ORDERS + 1)},
    ],
    ids=range(14),
)
def test_a_heartbeat_with_what_no_worker_says_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageError) as caught:
        AttemptsAlive.decode({**ALIVE, **changes})
    assert is_clean(str(caught.value))
    assert len(str(caught.value)) < 1000


def test_a_partial_log_of_more_bytes_than_a_database_counts_is_refused() -> None:
    partial = {"sha256": "c" * 64, "size_bytes": 10**30, "answers": 1}
    handed_back = {**report(), "outcome": "handed_back", "measurement": None, "evidence": None, "partial": partial}
    with pytest.raises(MessageError, match="size_bytes"):
        Report.decode(handed_back)


def test_an_integer_that_becomes_infinity_is_refused() -> None:
    parked = {**report(), "outcome": "hub_away", "measurement": None, "evidence": None}
    assert Report.decode({**parked, "retry_after_seconds": 60}).retry_after_seconds == 60.0
    with pytest.raises(MessageError, match="not a Report"):
        Report.decode({**parked, "retry_after_seconds": 10**400})


def test_a_name_that_begins_a_control_sequence_does_not_swallow_what_is_wrong() -> None:
    for name in ("\x1b]", "\x90", "\x1b[", "\u202e"):
        with pytest.raises(MessageError, match=r"^not a AttemptsAlive: .*Extra inputs are not permitted$") as caught:
            AttemptsAlive.decode({**ALIVE, name: 1})
        assert is_clean(str(caught.value))
