"""A probe over HTTP: whether what a farm has started answers yet."""

from __future__ import annotations

import httpx

ANSWER_SECONDS = 30.0


def answers(url: str) -> bool:
    """Whether there is a good answer at an address."""
    try:
        return httpx.get(url, timeout=ANSWER_SECONDS).is_success
    except httpx.HTTPError:
        return False
