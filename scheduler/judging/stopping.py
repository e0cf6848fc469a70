"""By what a reproduction stops by itself: fixed when it is first sent out, and the same for every later attempt."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.run_settings import RunSettings
from scheduler.database.tables import Claim, Reproduction
from scheduler.judging.history import EarlierRuns, predictors_for
from scheduler.state_machine import ClaimState
from scheduler.stored_values import read, rules_of, settings_of
from specs.judging.stopping import JudgedClaim, Stopping

MOST_CLAIMS = 50
"""That differ, of one run that decides as it goes. Each has tests of its own, fed with every sample: those of 200 take
14 s and 260 MB on 2,000 samples, and a pull request may hold thousands. Where more wait for a run it asks every sample,
which takes no tests."""

ASKED_OF_CLAIMS = (Claim.state, Claim.rules, Claim.linked_log, Claim.pull_request)
"""What a run stops by depends on these alone: claims have much else, and many may wait for one run."""


def fix(earlier: EarlierRuns, reproduction: Reproduction) -> Stopping | None:
    """Draw the seed, and fix what the run stops by, unless an earlier attempt did. Returns what that is.

    Both come after the claims: nobody can choose a claim that the first samples happen to favour. So from now on the
    reproduction takes further claims only if it runs every sample.
    """
    if reproduction.seed is not None:
        return stopping_of(reproduction)
    settings = settings_of(reproduction)
    reproduction.seed = secrets.randbelow(2**31)
    if takes_claims_to_the_end(settings):
        return None
    if _is_the_last_try(reproduction, settings, one_was_sent=earlier.one_was_sent(reproduction)):
        return None
    waiting = [claim for claim in reproduction.claims if claim.state == ClaimState.PLANNED]
    judged = _apart(waiting)
    if are_too_many(settings, len(judged)):
        return None
    reproduction.joinable = False
    if settings.mode != "sequential" or not waiting:
        return None
    found = _stopping(earlier, reproduction, settings, waiting, judged)
    reproduction.stopping = found.model_dump(mode="json")
    return found


def _is_the_last_try(reproduction: Reproduction, settings: RunSettings, *, one_was_sent: bool) -> bool:
    """Whether it asks every sample and answers all later claims, as it is not the first: `one_was_sent` of its key.

    Each run is another draw of answers: whoever claims one value after another would have one that fits in the end. Of
    those that were asked for anew the second is the last, as is one that follows a run of other weights or another
    revision within policy's cooldown. A run with a limit never has every sample.
    """
    if settings.sample_limit is not None:
        return False
    return reproduction.second_anew or (one_was_sent and not reproduction.asked_anew)


def are_too_many(settings: RunSettings, claims: int) -> bool:
    """Whether a run asks every sample because of so many claims that differ, and then takes all later ones too.

    A second run beside it would be another draw of answers, for whoever claims fifty values at once.
    """
    return settings.sample_limit is None and claims > MOST_CLAIMS


def asks_every_sample(reproduction: Reproduction, *, one_was_sent: bool, claims: int) -> bool:
    """Whether a run asks every sample, or will unless what was sent before it fails: `one_was_sent` says if any was.

    `claims` is how many that differ wait for it, where it was not sent out yet.
    """
    settings = settings_of(reproduction)
    if takes_claims_to_the_end(settings):
        return True
    if reproduction.seed is not None:
        return settings.sample_limit is None and reproduction.stopping is None
    return are_too_many(settings, claims) or _is_the_last_try(reproduction, settings, one_was_sent=one_was_sent)


def takes_claims_to_the_end(settings: RunSettings) -> bool:
    """Whether a run asks every sample whatever is claimed, so that claims may join it once it is under way."""
    return settings.mode == "full" and settings.sample_limit is None


def stopping_of(reproduction: Reproduction) -> Stopping | None:
    """By what the run stops; None where it runs every sample up to its limit.

    Raises:
        OtherVersion: this version cannot read that.
    """
    return read_stopping(reproduction.stopping)


def read_stopping(stored: object) -> Stopping | None:
    """The same, of what the row has."""
    return read(Stopping, stored, "what it is to stop by") if stored is not None else None


def judged_by(claim: Claim, reproduction: Reproduction, stopping: Stopping | None) -> tuple[JudgedClaim, Stopping]:
    """A claim, and what its completed run judges it by: what the run stopped by, if that was for this claim too."""
    alone = judged_claim(claim)
    if stopping is not None:
        for each in stopping.claims:
            # Where another row of the same entry stood then, it said the same.
            if each.claim_id == claim.claim_id or _alike(each, alone):
                return each, stopping
    settings = settings_of(reproduction)
    return alone, Stopping(
        claims=(alone,),
        alpha=settings.alpha,
        minimum_samples=settings.minimum_samples,
        maximum_failed_fraction=settings.maximum_failed_fraction,
    )


def judged_claim(claim: Claim) -> JudgedClaim:
    """A planned claim, as its rules have it."""
    return _judged(claim.claim_id, rules_of(claim))


def decides(stopping: Stopping, rules: JudgingRules) -> bool:
    """Whether a run that stops so was to decide a claim by these rules."""
    return any(_alike(each, _judged(each.claim_id, rules)) for each in stopping.claims)


def _judged(claim_id: str, rules: JudgingRules) -> JudgedClaim:
    return JudgedClaim(claim_id=claim_id, claimed=rules.claimed, tolerance=rules.tolerance, spread=rules.spread)


def tested(claim: JudgedClaim | JudgingRules) -> tuple[float, float | None, float | None]:
    """What claims differ by for a run: those for which it is the same share their tests."""
    return claim.claimed, claim.tolerance, claim.spread


def _alike(one: JudgedClaim, other: JudgedClaim) -> bool:
    return tested(one) == tested(other)


def _apart(claims: Iterable[Claim]) -> tuple[JudgedClaim, ...]:
    """Some planned claims, of those that are alike the first by their ids."""
    found: dict[object, JudgedClaim] = {}
    for claim in sorted(claims, key=lambda each: each.claim_id):
        judged = judged_claim(claim)
        found.setdefault(tested(judged), judged)
    return tuple(found.values())


def _stopping(
    earlier: EarlierRuns,
    reproduction: Reproduction,
    settings: RunSettings,
    claims: list[Claim],
    judged: tuple[JudgedClaim, ...],
) -> Stopping:
    predictors, linked = predictors_for(earlier, reproduction, settings, claims)
    return Stopping(
        claims=judged,
        alpha=settings.alpha,
        minimum_samples=settings.minimum_samples,
        maximum_failed_fraction=settings.maximum_failed_fraction,
        predictors=predictors,
        linked=linked,
    )
