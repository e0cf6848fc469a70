"""What can go wrong in a worker beyond `specs.errors`, told apart by what a report says of it."""

from __future__ import annotations

from specs.errors import EngineError, ReprofarmError


class ModelError(ReprofarmError):
    """The model cannot be loaded or run, by its own fault."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class OutOfMemory(EngineError):  # noqa: N818 - a condition, not a mistake
    """The engine did not get the memory it needs for this model."""


class SpecError(ReprofarmError):
    """The spec or its dataset cannot be run as it stands."""


class RunError(ReprofarmError):
    """The run broke in a way that is our fault."""


class RequestsRefused(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """The engine does not take what the farm itself asks for: that is our fault, and would be so another time."""


class JudgeAway(ReprofarmError):  # noqa: N818 - a condition that passes, not a mistake
    """A model that grades answers does not answer, or asks for patience; wait and try again."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class JudgeRefuses(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """A model that grades answers does not take what policy and the worker's environment say; the operator must act."""


class DiskFull(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """A disk of this worker, or the evidence store, has no room; the operator must free some."""


class DeviceBusy(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """Somebody else holds the memory of this worker's device; the operator must look who, if it stays so."""


class Dropped(ReprofarmError):  # noqa: N818 - an order, not a mistake
    """The control plane wants nothing more of this attempt: stop, and report nothing."""


class ToldToStop(ReprofarmError):  # noqa: N818 - an order, not a mistake
    """This worker is to stop: the batch is handed back."""

    def __init__(self, run_until: float) -> None:
        super().__init__("this worker was told to stop")
        self.run_until = run_until
        """By `time.monotonic`: when a run must have closed its log."""
