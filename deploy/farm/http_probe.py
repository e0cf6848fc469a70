"""A probe over HTTP: whether what a farm has started answers yet."""

from __future__ import annotations

import httpx2

ANSWER_SECONDS = 30.0


def answers(url: str) -> bool:
    """Whether there is a good answer at an address."""
    try:
        return httpx2.get(url, timeout=ANSWER_SECONDS).is_success
    except httpx2.HTTPError:
        return False
