"""Reports that are kept until they are checked: the worker is done with the run, which is not at its end yet."""

from __future__ import annotations

import hashlib

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import Session

from scheduler.database.tables import Attempt, Reproduction
from scheduler.messaging import outbox
from specs.messages import CONTROL_QUEUE, REPORT

KEPT = "its report is kept until"
"""What the reason of a run says whose report could not be taken in yet."""

IS_REPORTED: ColumnElement[bool] = exists().where(
    Attempt.reproduction_id == Reproduction.reproduction_id,
    Attempt.number == Reproduction.attempt,
    Attempt.report.is_not(None),
)
"""Of a reproduction that is in flight: its worker has reported, and takes other work."""


def send_again(session: Session, attempt: Attempt) -> None:
    """Have the report that is kept of an attempt checked once more.

    In the place of the message of the time before: a report with every sample's score has hundreds of kilobytes, and
    while an evidence store is away for a day there are a hundred checks of each.
    """
    if attempt.report is None:
        raise ValueError("no report is kept of this attempt")
    name = f"{REPORT} {attempt.reproduction_id} {attempt.number}"
    message_id = hashlib.sha256(name.encode()).hexdigest()[:32]
    outbox.put_again(session, queue=CONTROL_QUEUE, task=REPORT, body=attempt.report, message_id=message_id)
