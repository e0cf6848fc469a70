"""What the API says, version 1, of signing keys. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from specs.api_v1.views import View


class Jwks(View):
    """The farm's public keys, those of the past included (RFC 7517)."""

    keys: Annotated[tuple[dict[str, str], ...], Field(default_factory=tuple)]


class KeyRevocation(View):
    """A signing key that is no longer trusted, and with it every badge that names it, whoever made that badge."""

    key_id: str
    revoked_at: datetime
    reason: str
