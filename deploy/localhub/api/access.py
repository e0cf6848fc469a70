"""Who may do what. Reading public repos is open to everybody; all else needs a token."""

from __future__ import annotations

from deploy.localhub.errors import ForbiddenError, GatedRepoError, UnauthorizedError
from deploy.localhub.hub import LocalHub
from deploy.localhub.registry import RepoSettings
from deploy.localhub.tokens import Visitor


def may_read_files(hub: LocalHub, visitor: Visitor, settings: RepoSettings) -> bool:
    """Whether the caller may see what is in the files: of a gated repo only owners and those who were let in."""
    if settings.gated is None or visitor.owns(settings.name):
        return True
    return visitor.name is not None and hub.storage.registry.is_granted(settings.name, visitor.name)


def require_files(hub: LocalHub, visitor: Visitor, settings: RepoSettings) -> None:
    """Refuse the files of a gated repo to those who were not let in.

    Raises:
        GatedRepoError: the caller was not.
    """
    if not may_read_files(hub, visitor, settings):
        raise GatedRepoError(settings.name.label, logged_in=visitor.logged_in)


def require_writer(visitor: Visitor) -> str:
    """The name of somebody whose token may change things: open discussions, comment, propose changes.

    Raises:
        UnauthorizedError, ForbiddenError: nobody, or a token that only reads.
    """
    if visitor.name is None:
        raise UnauthorizedError("Invalid username or password.")
    if not visitor.can_write:
        raise ForbiddenError("This token can only read")
    return visitor.name


def require_owner(visitor: Visitor, settings: RepoSettings) -> str:
    """The name of somebody who may change the repo itself.

    Raises:
        UnauthorizedError, ForbiddenError: it is not theirs.
    """
    name = require_writer(visitor)
    if not visitor.owns(settings.name):
        raise ForbiddenError(f"You don't have write access to {settings.name.label}")
    return name
