from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from scheduler.api import pages
from scheduler.api.next_step import BY_OUTCOME, blocked_step, next_step, revoked_step
from scheduler.api.problems import BadCursor
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.claims import ClaimStateName, PublicationView, VerdictSummary
from specs.api_v1.reproductions import ReproductionStateName
from specs.judging.verdict import Outcome

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_the_states_that_the_api_names_are_those_of_the_machine() -> None:
    assert set(get_args(ClaimStateName)) == {state.value for state in ClaimState}
    assert set(get_args(ReproductionStateName)) == {state.value for state in ReproductionState}


def verdict(outcome: Outcome) -> VerdictSummary:
    return VerdictSummary(outcome=outcome, reason="r", comparison=None, decided_at=AT)


@pytest.mark.parametrize("state", sorted(set(ClaimState) - {ClaimState.DECIDED, ClaimState.BLOCKED}))
def test_every_state_has_a_next_step(state: ClaimState) -> None:
    assert next_step(state, None, None, None, publishes=True)


@pytest.mark.parametrize(
    ("looks_again_at", "awaits_approval", "said"),
    [
        (None, False, "Somebody has to act, as the reason says."),
        (AT, False, "The reason says what it waits for; the farm looks again by itself at 2026-03-01 12:00 UTC."),
        (None, True, "An operator has to approve what it costs, as the reason says."),
        (AT, True, "An operator has to approve what it costs, as the reason says."),
    ],
)
def test_somebody_has_to_act_only_where_the_farm_does_not_look_by_itself(
    looks_again_at: datetime | None, awaits_approval: bool, said: str
) -> None:
    assert blocked_step(looks_again_at, awaits_approval=awaits_approval) == said


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_next_step(outcome: Outcome) -> None:
    assert next_step("decided", None, verdict(outcome), None, publishes=True) == BY_OUTCOME[outcome]


def test_what_stands_on_the_hub_decides_the_step_after_a_verified_verdict() -> None:
    def step(state: str, reason: str = "", number: int | None = 4, *, publishes: bool = True) -> str:
        publication = PublicationView.model_validate(
            {"state": state, "number": number, "url": None, "reason": reason},
        )
        return next_step("decided", None, verdict(Outcome.VERIFIED), publication, publishes=publishes)

    assert "next round" in step("pending")
    assert "again, by itself. The last time: no right." in step("pending", "no right")
    assert "publish.mode is off" in step("pending", publishes=False)
    assert "on the Hub: 4." in step("published")
    assert step("published", number=None) == "Nothing: the entry carries the proof."
    assert "somebody else's proof" in step("kept_out", number=None)
    assert "gone or changed" in step("withdrawn")


@pytest.mark.parametrize(
    ("state", "number", "expected"),
    [
        (None, None, "the model's owner has to remove it"),
        ("pending", None, "takes back by itself"),
        ("published", None, "the model's owner has to remove it"),
        ("kept_out", None, "the model's owner has to remove it"),
        ("published", 4, "on the Hub: 4. If that is the farm's pull request, the model's owner has to close it"),
        ("withdrawn", None, "the model's owner has to remove it"),
    ],
)
def test_nobody_is_told_to_use_a_revoked_badge(state: str | None, number: int | None, expected: str) -> None:
    publication = state and PublicationView.model_validate(
        {"state": state, "number": number, "url": None, "reason": ""}
    )
    said = revoked_step("its log was made up.", publication or None)
    assert said.startswith("Its badge is revoked and does not count: its log was made up. ")
    assert expected in said
    assert "can merge" not in said
    assert "can add" not in said


def test_a_cursor_reads_back_to_the_microsecond() -> None:
    assert pages.decode(pages.encode(AT, "abc123")) == (AT, "abc123")


@pytest.mark.parametrize("cursor", ["", "x", "é", "====", "MTIz", pages.encode(AT, "a|b"), pages.encode(AT, "")])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        pages.decode(cursor)
