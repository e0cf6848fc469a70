"""What Inspect's scores say, taken strictly: a number, or nothing and a reason.

What each of the scorers that an eval.yaml can name says of an answer in which it did not find what it looks for
(inspect_ai 0.3.285, `inspect_ai/scorer/_*.py`). Every one of them notes `no_response` where the answer is empty.

| scorer                             | looks for                 | says, where it is not there                       |
| ---------------------------------- | ------------------------- | ------------------------------------------------- |
| choice                             | a letter that was parsed  | reason `invalid_response_format`, value I         |
| answer, pattern                    | its regular expression    | reason `invalid_response_format`, value I         |
| math                               | a mathematical expression | reason `invalid_response_format`, value I. Where  |
|                                    |                           | it takes too long: `answer_timeout`, value I,     |
|                                    |                           | though nothing was found out: no score            |
| match, numeric, at begin or end    | a number                  | answer is the empty text, value I                 |
| match otherwise, includes          | the target anywhere       | no form is asked for, so nothing is unparsed      |
| exact, f1                          | the target's words        | no form is asked for                              |
| model_graded_qa, model_graded_fact | the judge's `GRADE:`      | reason `grader_failed`, value NaN: the judge's    |
|                                    |                           | failure, so the sample has no score               |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from inspect_ai._util.text import is_finite_number
from inspect_ai.log import EvalSample
from inspect_ai.scorer import Score, ScoreReducer
from inspect_ai.scorer._reducer.registry import create_reducers

ScoreValue = str | float
"""What a scorer says of an answer, where that is a proportion: a number, or a letter or word that Inspect takes for
one."""

# Inspect's own four letters, with the values that its `accuracy` gives them.
_LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
# And the words, in small letters: a judge's, where the spec's `grade_pattern` looks for those.
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
# What `math` says where time ran out: over the answer, or over its target, which it gives no score either.
_OUT_OF_TIME = {"answer_timeout", "target_timeout"}
_NUMBER_CHARS = 64
"""Of a number in words, which are kept as they are: more than any that is meant has."""

_UNPARSED_REASONS = frozenset({"invalid_response_format", "no_response"})


def proportion(score: Score | None) -> float | None:
    """A score's value as a proportion; None where it is none, never a number to fall back on."""
    return None if score is None else _as_proportion(score.value)


def _as_proportion(value: object) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        known = _LETTERS.get(value, _WORDS.get(value.lower()))
        if known is not None or len(value) > _NUMBER_CHARS or not is_finite_number(value):
            return known
        return _as_proportion(float(value))
    # NaN and the infinities are not in between; `isfinite` fails for whole numbers that no float holds.
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    return None


def answer_value(sample: EvalSample, scorer: str, *, own: bool = True) -> ScoreValue | None:
    """What the scorer said of one answer (one sample, one epoch); None where it failed.

    A prompt that the engine refused as too long for its context was not answered: Inspect would score the refusal's
    words as if the model had said them. Nor was one that vLLM broke off, as where it is being shut down. One that the
    scorer came to no end of in time was not scored, though Inspect has it as wrong. The last two are said of a farm's
    `own` runs: of somebody else's the engine may be another, and the claimed score is what Inspect made of it.
    """
    score = (sample.scores or {}).get(scorer)
    # Of a sample that ended in an error Inspect counts what scorers had said by then: a further one may have raised it.
    if is_refused_prompt(sample):
        return None
    if own and (is_broken_off(sample) or is_timed_out(score)):
        return None
    as_number = proportion(score)
    return score.value if score is not None and isinstance(score.value, str) and as_number is not None else as_number


def first_value(sample: EvalSample) -> ScoreValue | None:
    """`answer_value` by the sample's first scorer, which is the one that counts."""
    return answer_value(sample, next(iter(sample.scores or {}), ""))


def first_score(sample: EvalSample) -> float | None:
    """`first_value` as a proportion."""
    return _as_proportion(first_value(sample))


def is_refused_prompt(sample: EvalSample) -> bool:
    """Whether the engine refused the prompt as too long for its context."""
    return _stop_reason(sample) == "model_length"


def is_timed_out(score: Score | None) -> bool:
    """Whether `math` ran out of time over an answer or its target, by the clock of a host that may have been busy."""
    return score is not None and (score.metadata or {}).get("math_scorer_status") in _OUT_OF_TIME


def is_broken_off(sample: EvalSample) -> bool:
    """Whether vLLM ended the answer before the model did."""
    # vLLM says `abort`, which Inspect does not know. It may know no reason for whole answers of other engines either.
    return _stop_reason(sample) == "unknown"


def is_truncated(sample: EvalSample) -> bool:
    """Whether the answer was cut off at the token limit."""
    return _stop_reason(sample) == "max_tokens"


def _stop_reason(sample: EvalSample) -> str | None:
    return sample.output.stop_reason if sample.output.choices else None


def is_unparsed(score: Score | None) -> bool:
    """Whether the scorer found nothing of the form it looks for; see the table above."""
    if score is None or proportion(score) is None:
        return False
    return score.reason in _UNPARSED_REASONS or score.answer == ""


def reduced(values: Sequence[ScoreValue | None], reducer: str) -> float | None:
    """The score of a sample over its epochs, by Inspect's own reducer; None unless every epoch has one.

    It reduces what the scorer said: to `mode`, C, N, I and C are twice C, though N and I are both 0.
    """
    there = [value for value in values if value is not None]
    if not there or len(there) < len(values):
        return None
    if len(there) == 1:
        return _of_one_epoch(there[0], reducer)
    return proportion(reducer_of(reducer)([Score(value=value) for value in there]))


@lru_cache(maxsize=256)
def _of_one_epoch(value: ScoreValue, reducer: str) -> float | None:
    # Most runs have one epoch, and most of their samples are right or wrong.
    return proportion(reducer_of(reducer)([Score(value=value)]))


@lru_cache(maxsize=16)
def reducer_of(name: str) -> ScoreReducer:
    """Inspect's reducer of that name; raises whatever Inspect does where it has none.

    Inspect looks it up in its registry, which takes longer than to reduce; it keeps nothing between two calls.
    """
    (found,) = create_reducers([name])
    return found
