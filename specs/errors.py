"""What can go wrong, told apart by who must act. Library errors are wrapped where they are raised, with `from`."""

from __future__ import annotations


class ReprofarmError(Exception):
    """The root of all errors that reprofarm raises on purpose; its text is for people."""


class SubmissionError(ReprofarmError):
    """What somebody submitted is not what it should be; the submitter must act."""


class YamlError(SubmissionError):
    """The text is not YAML within our limits; says where, as far as there is a place."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        where = "" if line is None else f"line {line}: " if column is None else f"line {line}, column {column}: "
        super().__init__(where + reason)
        self.reason = reason
        self.line = line
        """Counted from 1; None where the fault has no place, such as a file that is too large."""
        self.column = column
        """Counted from 1, in characters."""


class PolicyError(ReprofarmError):
    """The policy or a setting is wrong; the operator must act."""


class MessageError(ReprofarmError):
    """A queue message is of another version or shape; refused."""


class TokenError(ReprofarmError):
    """A verifyToken does not prove what it should."""


class EvidenceError(ReprofarmError):
    """A run's log is not there, or does not bear out what its worker reported; says which check failed."""


class EvidenceAway(ReprofarmError):  # noqa: N818 - a condition that passes, not a mistake
    """The evidence store cannot be reached, or lacks what it held; wait and try again. It says nothing of any log."""


class HubAway(ReprofarmError):  # noqa: N818 - a condition that passes, not a mistake
    """The Hub does not answer or asks for patience; wait and try again."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class HubBusy(HubAway):
    """The Hub has had too many requests from whoever asks (429): it answers no other one either, until then."""


class NoAccess(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """The Hub refuses the repo: gated or private. Whoever holds the token must accept the terms."""

    def __init__(self, message: str, repo_id: str) -> None:
        super().__init__(message)
        self.repo_id = repo_id


class EngineError(ReprofarmError):
    """The engine would not start, or died."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class InterventionError(ReprofarmError):
    """What an operator asked for cannot be done to that claim or reproduction; says why."""


class IllegalTransition(ReprofarmError):  # noqa: N818 - the standard name
    """A state cannot be left that way; a bug of ours, or a message that came too late."""


class AccessError(ReprofarmError):
    """A token cannot be made or revoked as it was asked for; says why."""


class SignInError(ReprofarmError):
    """Somebody's sign-in with the Hub does not prove who they are; says which step failed."""
