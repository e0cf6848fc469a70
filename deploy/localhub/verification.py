"""Which entries carry the mark "verified": those whose verifyToken one of the trusted keys signed, about them.

`trusted_keys.json` in the folder is a JWK set (RFC 7517). Without it nothing is verified.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.localhub.errors import MisconfiguredError
from deploy.localhub.results import ResultEntry
from specs.attestation import Expected, verify
from specs.errors import TokenError
from specs.processes.atomic_write import write_atomically


class TrustedKeys:
    """The public keys whose tokens light the mark. The file is read at every request."""

    def __init__(self, path: Path):
        self._path = path

    def load(self) -> dict[str, Any] | None:
        """The JWK set; None if there is none.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        if not self._path.is_file():
            return None
        try:
            jwks = json.loads(self._path.read_bytes())
        except ValueError as error:
            raise MisconfiguredError(f"{self._path.name} is not JSON: {error}") from error
        return _checked(jwks)

    def replace(self, jwks: dict[str, Any]) -> None:
        """Trust these keys and no others.

        Raises:
            MisconfiguredError: this is not a JWK set, or has private keys in it.
        """
        _checked(jwks)
        write_atomically(self._path, json.dumps(jwks, indent=2).encode() + b"\n")


def _checked(jwks: object) -> dict[str, Any]:
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(jwks, dict) or not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MisconfiguredError("The trusted keys are not a JWK set: there is no list of keys")
    if any("d" in key for key in keys):
        raise MisconfiguredError("The trusted keys have a private one among them; only public keys belong there")
    return jwks


def is_verified(entry: ResultEntry, jwks: dict[str, Any] | None) -> bool:
    """Whether a trusted key signed that this model scored this value on this task."""
    token = entry.data.get("verifyToken")
    if jwks is None or not isinstance(token, str):
        return False
    try:
        verify(token, jwks, Expected(model=entry.model, dataset=entry.dataset, task=entry.task, value=entry.value))
    except TokenError:
        return False
    return True
