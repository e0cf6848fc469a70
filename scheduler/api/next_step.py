"""What happens to a claim next, or what somebody could do about it, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from specs.api_v1.claims import PublicationView, VerdictSummary
from specs.api_v1.reproductions import ReproductionSummary
from specs.judging.verdict import Outcome

BY_STATE = {
    "submitted": "The farm plans it in its next round.",
    "rejected": "Its author corrects the file, as the reason says; the farm reads it again by itself.",
    "withdrawn": "Nothing: the reason says where its entry went.",
}

BY_OUTCOME = {
    Outcome.VERIFIED: "The author can add the badge's token to the entry, as its verifyToken.",
    Outcome.MISMATCH: (
        "Compare the settings of the run with those of the claim. A corrected entry becomes a new claim, which the farm"
        " runs by itself. If the model's owner doubts the verdict, they can have the claim verified again."
    ),
    Outcome.INCONCLUSIVE: (
        "Nobody is called wrong. The reason says what was missing; where a limit or a tolerance of policy is in the"
        " way, the farm's operator can change that, and have the claim verified again."
    ),
    Outcome.UNSUPPORTED: (
        "Nothing, as long as the reason holds. A corrected entry becomes a new claim. If the reason no longer holds,"
        " the claim can be verified again."
    ),
    Outcome.FAILED: (
        "This says nothing about the score. If the model's files are broken, its author has to repair them; otherwise"
        " the farm's operator has to act, as the reason says. Then either can retry it."
    ),
}

STALE = "Its verdict is stale, for the reason that is given: have the claim verified again."
"""The next step for a verified claim of which that is so, wherever its proof is: nobody is to use it further."""


def superseded_step(claim_id: str) -> str:
    """The next step for a claim whose entry was verified again."""
    return f"Look at claim {claim_id}: the same entry, tried or verified again."


def blocked_step(looks_again_at: datetime | None, *, awaits_approval: bool) -> str:
    """The next step for a claim that is blocked.

    `looks_again_at` is when the farm sees by itself whether it still has to wait; None where somebody has to act first.
    """
    if awaits_approval:
        return "An operator has to approve what it costs, as the reason says."
    if looks_again_at is None:
        return "Somebody has to act, as the reason says."
    return (
        "The reason says what it waits for; the farm looks again by itself at"
        f" {looks_again_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    )


def revoked_step(reason: str, publication: PublicationView | None) -> str:
    """The next step for a decided claim whose badge was revoked, for that reason."""
    return f"Its badge is revoked and does not count: {reason.rstrip('.')}. {_without_the_badge(publication)}"


def next_step(
    state: str,
    reproduction: ReproductionSummary | None,
    verdict: VerdictSummary | None,
    publication: PublicationView | None,
    *,
    publishes: bool,
) -> str:
    """The next step for a claim in `state`, which is not `blocked`, and whose verdict, if any, counts.

    `publishes` is whether policy has anything written on the Hub.
    """
    if state == "planned":
        return _of_a_run(reproduction)
    if state != "decided" or verdict is None:
        return BY_STATE.get(state, "")
    if verdict.outcome is not Outcome.VERIFIED or publication is None:
        return BY_OUTCOME[verdict.outcome]
    return _of_a_publication(publication, publishes=publishes)


def _of_a_publication(publication: PublicationView, *, publishes: bool) -> str:
    if publication.state == "pending":
        return _until_it_is_written(publication, publishes=publishes)
    if publication.state == "published":
        if publication.number is None:
            return "Nothing: the entry carries the proof."
        return (
            f"It is on the Hub: {publication.url or publication.number}."
            " If that is a pull request, the model's owner can merge it."
        )
    if publication.state == "kept_out":
        return (
            "The entry carries somebody else's proof, which the farm does not replace. Once that is gone, the claim can"
            " be verified again, and the farm proposes its own."
        )
    return "Nothing: the claim was gone or changed when the farm came to write on the Hub."


def _without_the_badge(publication: PublicationView | None) -> str:
    if publication is not None and publication.state == "published" and publication.number is not None:
        return (
            f"It still stands on the Hub: {publication.url or publication.number}. If that is the farm's pull request,"
            " the model's owner has to close it, or to remove the token from the entry if it is merged."
        )
    if publication is not None and publication.state == "pending":
        return "The farm does not publish it, and takes back by itself what it was writing on the Hub."
    return "If its token was added to the entry, the model's owner has to remove it."


def _until_it_is_written(publication: PublicationView, *, publishes: bool) -> str:
    if not publishes:
        return "It waits: the farm's policy has nothing written on the Hub now (publish.mode is off)."
    if publication.reason:
        return f"The farm tries to write it to the Hub again, by itself. The last time: {publication.reason}."
    return "The farm writes it to the Hub in its next round."


def _of_a_run(run: ReproductionSummary | None) -> str:
    if run is None:
        return "The farm plans its reproduction in its next round."
    if run.state == "running":
        return "A worker runs it; the verdict follows by itself."
    if run.state in ("queued", "dispatched"):
        return f"Waits for {run.waits_for or f'a worker of pool {run.pool}'}."
    return "The run has ended; the verdict follows by itself."
