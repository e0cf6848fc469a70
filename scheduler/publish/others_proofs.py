"""Whether an entry's token is another issuer's, by its own unverified words: the farm knows no keys but its own."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

from specs.attestation import MAX_TOKEN_CHARS, TYPE


def is_of_others(token: str | None, ours: str, gave: Callable[[str], bool]) -> bool:
    """Whether this is another farm's badge, or a token of another kind, such as the Hub's own evaluators gave.

    `ours` is the farm's present one, and `gave` says of a badge's id, as it is written there, whether the farm gave it.
    """
    header = _part(token, 0)
    if token is None or header is None:
        return False
    if header.get("typ") != TYPE:
        return True
    # By its key it is ours also where the database was begun anew since.
    if len(token) > MAX_TOKEN_CHARS or header.get("kid") == (_part(ours, 0) or {}).get("kid"):
        return False
    stated = _part(token, 1) or {}
    issuer, badge_id = stated.get("iss"), stated.get("jti")
    if not isinstance(issuer, str) or issuer.rstrip("/") == str((_part(ours, 1) or {}).get("iss")).rstrip("/"):
        return False
    # Else ours only of before the farm had both another key and another address.
    return not (isinstance(badge_id, str) and gave(badge_id))


def _part(token: str | None, place: int) -> dict[str, Any] | None:
    """The header (0) or payload (1) of a token, unverified; None where it has none that anybody could verify."""
    parts = (token or "").split(".", 2)
    if place >= len(parts):
        return None
    try:
        # Not by PyJWT: it refuses headers that it does not know (`crit`), and then another's proof would count as none.
        decoded: Any = json.loads(urlsafe_b64decode(parts[place] + "=" * (-len(parts[place]) % 4)))
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None
