"""What is said to explain a mismatch comes from what the run saw, the likeliest first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from specs.judging.likely_reasons import Claimed, likely_reasons
from specs.measurement import Measurement
from tests.support.rows import comparison, measurement

PINNED = Claimed(scale="percent", pinned=True, dataset_revision="b" * 40)


def ran(samples: int = 100, generation: dict[str, Any] | None = None, **more: Any) -> Measurement:
    """A run in which nothing stands out, but for what is given."""
    found = measurement()
    quiet = {"sources": {"temperature": "spec"}, **(generation or {})}
    circumstances = found.circumstances.model_copy(
        update={
            "chat_template_sha256": more.pop("template", "c" * 64),
            "generation": found.circumstances.generation.model_copy(update=quiet),
        }
    )
    facts = {
        "sample_ids": tuple(range(samples)),
        "sample_scores": (1.0,) * samples,
        "truncated": 0,
        "ignored": 0,
        "circumstances": circumstances,
    }
    return found.model_copy(update={**facts, **more})


def reasons(
    measured: Measurement, claimed: float = 0.412, reproduced: float = 0.2, claim: Claimed = PINNED
) -> list[str]:
    found = comparison(reproduced).model_copy(update={"claimed": claimed})
    return list(likely_reasons(found, measured, claim))


def test_where_nothing_stands_out_nothing_is_said() -> None:
    assert reasons(ran()) == []


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (ran(truncated=30, generation={"max_tokens": 64, "sources": {"temperature": "spec", "max_tokens": "policy"}}),
         "30 of 100 answers (30 %) were cut off at max_tokens 64, from the farm's policy"),
        (ran(truncated=30), "cut off at the end of the model's context"),
        # A run that stopped after twenty samples, with 64 more in flight.
        (ran(20, truncated=8, ignored=64), "8 of 20 answers (40 %) were cut off"),
        (ran(unparsed=50), "50 of 100 answers (50 %) held none of the form that the scorer looks for"),
        (ran(template=None), "no chat template"),
        (ran(generation={"temperature": 0.7, "sources": {"temperature": "generation_config"}}),
         "sampling: temperature 0.7 and top_p 1, by the model's generation_config.json"),
        (ran(generation={"temperature": 1.0, "sources": {}}), "by vLLM's default"),
        (ran(generation={"repetition_penalty": 1.2}), "a repetition penalty of 1.2, from vLLM's default"),
        (ran(sample_scores=(None,) * 3 + (0.0,) * 97), "3 of 100 samples failed"),
    ],
)  # fmt: skip
def test_what_the_run_saw_is_named(measured: Measurement, said: str) -> None:
    (reason,) = reasons(measured)
    assert said in reason


def test_a_claim_that_pins_no_revision_may_be_about_another_one() -> None:
    (reason,) = reasons(ran(), claim=Claimed(scale="percent", pinned=False, dataset_revision="b" * 40))
    assert "another dataset revision: the claim pins none, and the run used bbbbbbbbbbbb;" in reason


def test_a_claim_whose_notes_say_how_it_was_scored_may_be_of_another_setup() -> None:
    (reason,) = reasons(ran(), claim=dataclasses.replace(PINNED, names_a_setup=True))
    assert "another setup: the claim's notes say how it was scored" in reason


@pytest.mark.parametrize(("claimed", "reproduced", "said"), [(0.0041, 0.41, "a fraction"), (0.41, 0.0041, "a percent")])
def test_percent_against_fraction_comes_first(claimed: float, reproduced: float, said: str) -> None:
    first, *_ = reasons(ran(template=None, truncated=90), claimed, reproduced)
    assert f"percent against fraction: the value looks like {said}" in first


def test_a_score_of_nought_is_no_percentage() -> None:
    assert reasons(ran(), 0.5, 0.0) == []


def test_lost_answers_explain_no_score_that_came_out_higher() -> None:
    assert reasons(ran(truncated=50, unparsed=50), 0.2, 0.6) == []


def test_what_could_close_the_gap_goes_before_what_could_not() -> None:
    assert "cut off" in reasons(ran(truncated=30, unparsed=3))[0]
    assert "none of the form" in reasons(ran(truncated=3, unparsed=30))[0]


def test_a_few_lost_answers_are_no_reason() -> None:
    assert reasons(ran(truncated=1, unparsed=1)) == []
