"""Can a dataset's questions be asked as multiple choice, and scored? Found out before an engine answers them."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_ai._eval.task.hf import HFTask
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Target
from inspect_ai.scorer._choice import _score_target
from inspect_ai.solver._task_state import Choices

from specs.text import clean
from workers.errors import SpecError


def check_choices(definition: HFTask, samples: Sequence[Sample]) -> None:
    """Refuse a dataset of which not one question could get a score.

    Inspect fails at each of those; single ones among others are samples without a score, like any that fails.

    Raises:
        SpecError: says what is wrong with the first.
    """
    asked = any(solver.name == "multiple_choice" for solver in definition.solvers)
    scored = any(scorer.name == "choice" for scorer in definition.scorers)
    first = ""
    for sample in samples if asked else ():
        fault = _fault(sample, scored=scored)
        if fault is None:
            return
        first = first or fault
    if first:
        raise SpecError(f"not one of the {len(samples)} questions can be run as multiple choice: the first {first}")


def _fault(sample: Sample, *, scored: bool) -> str | None:
    if not sample.choices:
        return "has no choices"
    if scored:
        try:
            _score_target(Target(sample.target), Choices(sample.choices))
        except (ValueError, TypeError) as error:
            # The latter for a ß, which in capitals is two letters.
            shown = clean(repr(sample.target), 100)
            return f"has the target {shown}, which must be the letter of a choice: {clean(str(error), 300)}"
    return None
