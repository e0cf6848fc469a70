"""What runs take and what becomes of their claims, by the very rule that runs stop by.

Of answers that are right or wrong, and without predictions: several epochs, and predictions, make runs shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from deploy.simulate.sizes import SimulatedTask
from specs.judging.power import decisions, simulated_runs
from specs.judging.stopping import JudgedClaim, Population, Stopping, stopping_rule, targets_sha256
from specs.judging.stopping_rule import StoppingRule
from specs.judging.verdict import Outcome
from specs.policy.verification import VerificationRules

VERIFICATION = VerificationRules()

RUNS = 100
"""Of each task and score, one of which a simulated run is."""

LOOKS_APART = 1.1
"""So that a run takes a twentieth more or less than it would: nobody waits long for a day."""

_NOT_ASKED = targets_sha256(())


@dataclass(frozen=True)
class Judged:
    """What each of those runs takes and comes to for one claim, and what one of every sample comes to."""

    samples: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    by_all: Outcome


@cache
def judged(task: SimulatedTask, claimed: float, score: float) -> Judged:
    """Of a claim on a model that scores so on all samples."""
    rule = _rule(task, claimed)
    (runs,) = simulated_runs(rule, (score,), runs=RUNS, looks_apart=LOOKS_APART)
    answers = decisions(rule, score)
    return Judged(
        samples=tuple(runs.samples.tolist()),
        outcomes=tuple(map(_outcome, runs.verified.tolist(), runs.mismatch.tolist())),
        by_all=_outcome(answers[0] == "verified", all(each == "mismatch" for each in answers)),
    )


def _rule(task: SimulatedTask, claimed: float) -> StoppingRule:
    stopping = Stopping(
        claims=(JudgedClaim(claim_id="", claimed=claimed, tolerance=None),),
        alpha=VERIFICATION.alpha,
        minimum_samples=VERIFICATION.minimum_samples,
        maximum_failed_fraction=VERIFICATION.maximum_failed_fraction,
    )
    return stopping_rule(stopping, Population(samples=task.samples, epochs=task.epochs, targets_sha256=_NOT_ASKED))


def _outcome(verified: bool, mismatch: bool) -> Outcome:
    if verified:
        return Outcome.VERIFIED
    return Outcome.MISMATCH if mismatch else Outcome.INCONCLUSIVE
