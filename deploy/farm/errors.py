"""What can go wrong with a one-machine farm."""

from __future__ import annotations

from deploy.farm.logs import Log
from specs.errors import ReprofarmError

SHOWN_LINES = 30


class FarmError(ReprofarmError):
    """The farm could not be started, or one of its processes ended."""


class ProcessEnded(FarmError):  # noqa: N818 - what happened, not a mistake of the caller
    """A process of the farm ended when it should run; the text has its last lines."""

    def __init__(self, log: Log, exit_status: int) -> None:
        last = "\n  ".join(log.tail(SHOWN_LINES)) or "(it wrote nothing)"
        super().__init__(f"{log.name} ended with status {exit_status}; the last lines of {log.path}:\n  {last}")
        self.name = log.name
        self.exit_status = exit_status
