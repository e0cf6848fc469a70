"""Secrets that callers hold: made at random, kept as a hash.

Each has 256 bits from the system's generator. Whoever reads the database would have to find a preimage of SHA-256 among
2**256 values, which a slow hash with a salt, meant for passwords that people think of, could not make any harder; and a
fast one is looked up by an index, on every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets

TOKEN_PREFIX = "rf_"  # noqa: S105 - how tokens begin, so that scanners of repos and logs know them
RANDOM_BYTES = 32

_RANDOM = r"[A-Za-z0-9_-]{43}"
TOKEN = re.compile(rf"{TOKEN_PREFIX}{_RANDOM}")
SESSION_ID = re.compile(_RANDOM)


def new_token() -> str:
    """A token that nobody has."""
    return TOKEN_PREFIX + new_secret()


def new_secret() -> str:
    """32 random bytes, as 43 characters of base64url."""
    return secrets.token_urlsafe(RANDOM_BYTES)


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
