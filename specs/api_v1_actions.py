"""What may be asked of the API, and what it answers."""

from __future__ import annotations

from specs.api_v1 import View


class Done(View):
    """What was done."""

    lines: tuple[str, ...]
    """In words, in order."""

    claim_ids: tuple[str, ...] = ()
    """The claims that it concerns from here on."""
