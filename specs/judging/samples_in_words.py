"""Why the samples that decided a claim are fewer than those that its run scored."""

from __future__ import annotations

from specs.judging.verdict import Comparison


def why_fewer_decided(found: Comparison, counted: int, ignored: int) -> str | None:
    """A sentence or two for people; None where the figures of the claim and of the run are the same.

    Args:
        found: what the claim was judged by.
        counted: samples that count in the whole run, scored or failed.
        ignored: samples that were in flight when the run stopped by itself.
    """
    decided_after = found.samples_used + found.failed
    said = []
    if decided_after < counted:
        said.append(
            f"This claim had its answer after {decided_after} samples, and those decided. The run went on to"
            f" {counted} for what else it had to answer."
        )
    if ignored:
        said.append(f"{ignored} more were in flight when the run stopped: they are in the log and count for nothing.")
    return " ".join(said) or None
