from __future__ import annotations

from specs.judging.samples_in_words import why_fewer_decided
from tests.support.rows import comparison


def test_a_run_that_went_on_for_others_and_had_answers_in_flight_says_both() -> None:
    found = comparison().model_copy(update={"samples_used": 61, "failed": 2})
    assert why_fewer_decided(found, 129, 7) == (
        "This claim had its answer after 63 samples, and those decided. The run went on to 129 for what else it had to"
        " answer. 7 more were in flight when the run stopped: they are in the log and count for nothing."
    )


def test_what_ended_where_the_claim_had_its_answer_needs_no_words() -> None:
    found = comparison()
    assert why_fewer_decided(found, found.samples_used + found.failed, 0) is None
