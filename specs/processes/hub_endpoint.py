"""The Hub's address, as both sides are told it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _checked(url: str) -> str:
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError("white space, or a letter that cannot be printed")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no address of a Hub, such as https://huggingface.co")
    # Paths are put behind it, and a Hub need not take `//` for `/`.
    return url.rstrip("/")


HubEndpoint = Annotated[str, AfterValidator(_checked)]
"""`http://` or `https://` and a host, without a slash at its end."""
