"""The applications to which people may sign in.

`oauth_applications.json` in the folder holds the SHA-256 of each secret, which is long and random.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, TypeAdapter

from deploy.localhub.errors import BadRequestError
from deploy.localhub.listed import ListFile

MAX_NAME_CHARS = 100


class Application(BaseModel):
    """One entry of `oauth_applications.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    name: str
    secret_sha256: str
    redirect_uris: tuple[str, ...]
    """Where people are sent back to; compared character by character."""

    def has_secret(self, secret: str) -> bool:
        """Whether this is the application's secret."""
        return secrets.compare_digest(self.secret_sha256, _hash(secret))


@dataclass(frozen=True)
class Registered:
    """A new application, with the secret that is not shown again."""

    client_id: str
    secret: str


class Applications:
    """The applications of a folder. The file is read at every request."""

    def __init__(self, path: Path):
        self._file = ListFile(path, TypeAdapter(tuple[Application, ...]), "applications")

    def all(self) -> tuple[Application, ...]:
        """Every application.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        return self._file.read()

    def find(self, client_id: str) -> Application:
        """The application of that id.

        Raises:
            BadRequestError: there is none.
        """
        for application in self.all():
            if application.client_id == client_id:
                return application
        raise BadRequestError("There is no such application")

    def add(self, name: str, redirect_uris: tuple[str, ...]) -> Registered:
        """Register an application.

        Raises:
            BadRequestError: it has no name, or nowhere to send people back to.
        """
        if not 0 < len(name) <= MAX_NAME_CHARS:
            raise BadRequestError(f"An application has a name of at most {MAX_NAME_CHARS} characters")
        if not redirect_uris or any(urlsplit(uri).scheme not in ("http", "https") for uri in redirect_uris):
            raise BadRequestError("An application has addresses (http or https) to which people are sent back")
        registered = Registered(str(uuid.uuid4()), f"oauth_app_secret_{secrets.token_hex(20)}")
        entry = Application(
            client_id=registered.client_id,
            name=name,
            secret_sha256=_hash(registered.secret),
            redirect_uris=redirect_uris,
        )
        self._file.write((*self.all(), entry))
        return registered


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
