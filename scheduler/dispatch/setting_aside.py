"""Queued reproductions that cannot be sent out as they are: each waits by itself, and holds up nobody else."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy.orm import Session

from scheduler.database.tables import Reproduction, now
from scheduler.record import MAX_REASON_CHARS, SCHEDULER, add_event
from scheduler.stored_values import OtherVersion
from specs.text import clean

WAITS_FOR = "waits for "
SET_ASIDE = f"{WAITS_FOR}the farm's operator: "
"""What the reason of such a one begins with, for people."""

LOOKED_AT_AGAIN = timedelta(minutes=10)

log = logging.getLogger(__name__)


def set_aside(session: Session, reproduction: Reproduction, error: Exception) -> None:
    """Have a queued reproduction wait until it is looked at again, for a version that can read it or has no such fault.

    That is no attempt, and no failure of anybody's. It has no deadline: like what is blocked, it waits for somebody.
    """
    # As it was: whoever met the error may have changed half of it.
    session.expire(reproduction)
    if isinstance(error, OtherVersion):
        why = f"{SET_ASIDE}{error}"
    else:
        words = "while it was to be sent out, of which the control worker's log tells more"
        why = f"{SET_ASIDE}{type(error).__name__} {words}"
    if reproduction.reason != clean(why, MAX_REASON_CHARS):
        log.error("reproduction %s cannot be sent out", reproduction.reproduction_id, exc_info=error)
        add_event(session, SCHEDULER, "reproduction", reproduction.reproduction_id, "set_aside", why)
        reproduction.reason = clean(why, MAX_REASON_CHARS)
    reproduction.set_aside = True
    reproduction.not_before = now() + LOOKED_AT_AGAIN
