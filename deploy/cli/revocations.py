"""A farm's list of revocations, as `/v1/revocations` serves it, or as somebody kept it in a file."""

from __future__ import annotations

from pydantic import ValidationError

from deploy.cli.public_files import is_url, read_json
from deploy.client import ApiError
from specs.api_v1.badges import Revocations

PATH = "/v1/revocations"
MAX_PARTS = 1000


def revocation_of(badge_id: str, key_id: str, place: str) -> str | None:
    """What a list, a file or a URL, says of a badge, or of the key that signed it; None where neither is in it.

    A list at a URL is read to its end. A file that holds only a part of a list is refused: the badge may be in another.

    Raises:
        ApiError: the list cannot be had, or not whole.
    """
    cursor: str | None = None
    for _ in range(MAX_PARTS):
        asked = {"limit": "200", **({"cursor": cursor} if cursor else {})} if is_url(place) else None
        try:
            part = Revocations.model_validate(read_json(place, "revocations", asked), strict=False)
        except ValidationError as error:
            raise ApiError(f"{place} is not a list of revocations as /v1/revocations serves it") from error
        found = next((item for item in part.items if item.badge_id == badge_id), None)
        if key_id in part.revoked_keys:
            return f"signed by the key {key_id}, which is revoked"
        if found is not None:
            return f"revoked at {found.revoked_at:%Y-%m-%d %H:%M} UTC: {found.reason}"
        if part.next is None:
            return None
        if not is_url(place):
            raise ApiError(f"{place} is a part of a list of revocations: it says that more follow")
        cursor = part.next
    raise ApiError(f"{place} does not end")
