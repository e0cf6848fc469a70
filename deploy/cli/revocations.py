"""A farm's list of revocations, as `/v1/revocations` serves it, or as somebody kept it in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from deploy.cli.public_files import is_url, read_json
from deploy.client import ApiError
from specs.api_v1.badges import Revocations

PATH = "/v1/revocations"
MAX_PARTS = 1000


def revocation_of(badge_id: str, key_id: str, places: Sequence[str]) -> str | None:
    """What a list says of a badge, or of the key that signed it; None where neither is in it.

    The list is at a URL, which is read to its end, or in files, one for each of its parts, in order. Files that are a
    part of a list only are refused: the badge may be in the rest.

    Raises:
        ApiError: the list cannot be had, or not whole.
    """
    for part in _parts(places):
        found = next((item for item in part.items if item.badge_id == badge_id), None)
        if key_id in part.revoked_keys:
            return f"signed by the key {key_id}, which is revoked"
        if found is not None:
            return f"revoked at {found.revoked_at:%Y-%m-%d %H:%M} UTC: {found.reason}"
    return None


def _parts(places: Sequence[str]) -> Iterator[Revocations]:
    for place in places:
        part = _read(place)
        yield part
        for _ in range(MAX_PARTS if is_url(place) else 0):
            if part.next is None:
                break
            part = _read(place, part.next)
            yield part
    if part.next is not None:
        more = "does not end" if is_url(place) else "is a part of a list of revocations: it says that more follow"
        raise ApiError(f"{place} {more}")


def _read(place: str, cursor: str | None = None) -> Revocations:
    asked = {"limit": "200", **({"cursor": cursor} if cursor else {})} if is_url(place) else None
    try:
        return Revocations.model_validate(read_json(place, "revocations", asked), strict=False)
    except ValidationError as error:
        raise ApiError(f"{place} is not a list of revocations as /v1/revocations serves it") from error
