"""What can go wrong, and how the Hub says it: a status and an `X-Error-Code` that its client turns into a type."""

from __future__ import annotations

from collections.abc import Mapping

from specs.errors import ReprofarmError


class HubError(ReprofarmError):
    """Root of the local Hub's errors. `headers` are sent along with the answer."""

    status = 400
    code: str | None = None

    def __init__(self, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class BadRequestError(HubError):
    """The caller sent something that cannot be done, or that is not well-formed."""


class UnauthorizedError(HubError):
    """Nobody is logged in, or the token is unknown."""

    status = 401


class ForbiddenError(HubError):
    """Somebody is logged in who may not do this."""

    status = 403


class NotFoundError(HubError):
    """Something else than a repo, revision or file is not there."""

    status = 404


class RepoNotFoundError(HubError):
    """No such repo, or a private one that the caller may not know of."""

    status = 404
    code = "RepoNotFound"

    def __init__(self, repo_id: str, *, logged_in: bool = True):
        super().__init__(f"Repository not found: {repo_id}")
        if not logged_in:  # as huggingface.co answers: logging in might make it appear
            self.status = 401


class MovedError(HubError):
    """The repo has another id; the answer leads to the same address with that one."""

    status = 307

    def __init__(self, location: str):
        super().__init__("Temporary Redirect", {"Location": location})


class RevisionNotFoundError(HubError):
    """No branch, tag, pull request or commit of that name."""

    status = 404
    code = "RevisionNotFound"

    def __init__(self, revision: str):
        super().__init__(f"Invalid rev id: {revision}")


class EntryNotFoundError(HubError):
    """The revision is there and has no such file or folder."""

    status = 404
    code = "EntryNotFound"

    def __init__(self, path: str, commit: str | None = None):
        super().__init__(f"Entry not found: {path}", {"X-Repo-Commit": commit} if commit else None)


class GatedRepoError(HubError):
    """The repo shares its files only with people who were let in."""

    status = 403
    code = "GatedRepo"

    def __init__(self, label: str, *, logged_in: bool):
        if logged_in:
            super().__init__(f"Access to {label} is restricted and you are not in the authorized list.")
        else:
            super().__init__(f"Access to {label} is restricted. You must be authenticated to access it.")
            self.status = 401


class ConflictError(HubError):
    """It exists already, or two changes cannot both be had."""

    status = 409


class StaleParentError(HubError):
    """The branch has moved on since the commit that the caller built on."""

    status = 412

    def __init__(self) -> None:
        super().__init__("A commit has happened since. Please refresh and try again.")


class MisconfiguredError(HubError):
    """A file of the folder that the operator edits is not what it should be."""

    status = 500


class TooLargeError(HubError):
    """A body, file or list above its bound."""

    status = 413
