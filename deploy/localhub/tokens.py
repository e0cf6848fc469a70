"""Who is asking: access tokens and the people they belong to.

`tokens.json` in the folder holds the SHA-256 of each token, not the token: whoever reads the file cannot use it. The
tokens are long and random, so that a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from deploy.localhub.errors import UnauthorizedError
from deploy.localhub.listed import ListFile
from deploy.localhub.names import RepoName, check_user

Role = Literal["read", "write"]


class TokenRecord(BaseModel):
    """One line of `tokens.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str
    role: Role = "write"
    orgs: tuple[str, ...] = ()
    sha256: str
    created_at: datetime


@dataclass(frozen=True)
class Visitor:
    """Whoever sent a request; `record` is None for somebody who did not log in."""

    record: TokenRecord | None = None

    @property
    def logged_in(self) -> bool:
        """Whether a known token came with the request."""
        return self.record is not None

    @property
    def name(self) -> str | None:
        """The user's name."""
        return self.record.user if self.record else None

    @property
    def can_write(self) -> bool:
        """Whether the token may change anything at all."""
        return self.record is not None and self.record.role == "write"

    def owns(self, repo: RepoName) -> bool:
        """Whether the repo lies in the user's own namespace or that of an organisation they are in."""
        return self.belongs_to(repo.namespace)

    def belongs_to(self, namespace: str) -> bool:
        """Whether the namespace is the user's own or that of an organisation they are in."""
        return self.record is not None and namespace in (self.record.user, *self.record.orgs)


class TokenFile:
    """The tokens of a folder. The file is read at every request."""

    def __init__(self, path: Path):
        self._file = ListFile(path, TypeAdapter(tuple[TokenRecord, ...]), "tokens")

    def records(self) -> tuple[TokenRecord, ...]:
        """Everybody who has a token.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        return self._file.read()

    def add(self, user: str, role: Role, orgs: tuple[str, ...]) -> str:
        """Make a token for a user and return it; it cannot be shown again."""
        check_user(user)
        for org in orgs:
            check_user(org)
        token = f"hf_{secrets.token_hex(20)}"
        record = TokenRecord(user=user, role=role, orgs=orgs, sha256=_hash(token), created_at=datetime.now(UTC))
        self._file.write((*self.records(), record))
        return token

    def visitor(self, authorization: str | None) -> Visitor:
        """Who sent this `Authorization` header.

        Raises:
            UnauthorizedError: it names a token that nobody has.
        """
        if not authorization:
            return Visitor()
        scheme, _, token = authorization.partition(" ")
        digest = _hash(token.strip())
        for record in self.records():
            if scheme.lower() == "bearer" and secrets.compare_digest(record.sha256, digest):
                return Visitor(record)
        raise UnauthorizedError("Invalid credentials in Authorization header")

    def organisations(self) -> frozenset[str]:
        """The names that somebody belongs to as to an organisation."""
        return frozenset(org for record in self.records() for org in record.orgs)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
