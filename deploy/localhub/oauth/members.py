"""In which role somebody is in an organisation, as applications learn it.

`members.json` in the folder says it; who is in an organisation by a token alone has the role `write` there, as that
token has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from deploy.localhub.listed import ListFile
from deploy.localhub.names import check_user

OrgRole = Literal["admin", "write", "contributor", "read"]


class Membership(BaseModel):
    """One entry of `members.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    org: str
    user: str
    role: OrgRole


class Members:
    """The memberships of a folder. The file is read at every request."""

    def __init__(self, path: Path):
        self._file = ListFile(path, TypeAdapter(tuple[Membership, ...]), "memberships")

    def all(self) -> tuple[Membership, ...]:
        """Every membership.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        return self._file.read()

    def roles_of(self, user: str) -> dict[str, OrgRole]:
        """The user's role in each organisation that names them."""
        return {each.org: each.role for each in self.all() if each.user == user}

    def put(self, org: str, user: str, role: OrgRole) -> None:
        """Take somebody into an organisation, or change their role there."""
        entry = Membership(org=check_user(org), user=check_user(user), role=role)
        kept = [each for each in self.all() if (each.org, each.user) != (org, user)]
        self._file.write((*kept, entry))
