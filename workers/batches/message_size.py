"""What a worker says, as small as the control plane reads it: what is larger would be dropped there, unread."""

from __future__ import annotations

from specs.messages import AttemptOutcome, AttemptsAlive, Report
from specs.processes.envelopes import why_unreadable


def readable_report(report: Report) -> Report:
    """The report, or one that says why it cannot be sent.

    Its run ends with that, and is not tried again: it would be as large again. Its log is in the evidence store then.
    """
    why = why_unreadable(report.encode(), "control")
    if why is None:
        return report
    kept = "" if report.evidence is None else f" The log of the run is kept as evidence {report.evidence.sha256}."
    detail = (
        f"the run was done, and its report {why}: the task has more samples than this farm can take in."
        f" Its operator can set a sample_limit for it.{kept}"
    )
    nothing = {"measurement": None, "evidence": None, "partial": None}
    return report.model_copy(update={"outcome": AttemptOutcome.SPEC_FAILED, "detail": detail, **nothing})


def readable_heartbeat(beat: AttemptsAlive) -> AttemptsAlive:
    """The heartbeat, without the engines' last lines where those make it too large: it has to renew its leases."""
    if why_unreadable(beat.encode(), "control") is None:
        return beat
    return beat.model_copy(
        update={"progress": tuple(each.model_copy(update={"log_tail": None}) for each in beat.progress)}
    )
