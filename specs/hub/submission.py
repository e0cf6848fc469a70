"""What became of one submitted entry, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class SubmissionStatus(StrEnum):
    """From best to worst."""

    ACCEPTED = "accepted"
    ACCEPTED_WITH_WARNING = "accepted_with_warning"
    REJECTED = "rejected"


def status_of(reasons: Sequence[str], warnings: Sequence[str]) -> SubmissionStatus:
    """Rejected where there is a reason to, accepted with warning where there is anything to say."""
    if reasons:
        return SubmissionStatus.REJECTED
    if warnings:
        return SubmissionStatus.ACCEPTED_WITH_WARNING
    return SubmissionStatus.ACCEPTED
