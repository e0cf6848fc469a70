"""Keeps an attempt whose report is being checked: its worker is done with it, and renews its lease no more.

To read a log of gigabytes, or from a store that is slow, takes longer than a lease lasts. The reaper would have the run
done once more, and the report would come too late.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy.exc import SQLAlchemyError

from specs.processes.beside import beside

AT_MOST_SECONDS = 3600.0
"""A store that takes a read and never answers keeps an attempt no longer."""

log = logging.getLogger(__name__)


def kept(renew: Callable[[], object], every_seconds: float) -> AbstractContextManager[None]:
    """Have a lease renewed now and then while the block takes its time."""
    return beside("lease", lambda over: _renew_until(over, renew, every_seconds))


def _renew_until(ended: threading.Event, renew: Callable[[], object], every_seconds: float) -> None:
    for _ in range(int(AT_MOST_SECONDS / every_seconds)):
        if ended.wait(every_seconds):
            return
        try:
            renew()
        except SQLAlchemyError as error:
            # A database that is away for a moment.
            log.warning("the lease of what is being checked was not renewed: %s", error)
