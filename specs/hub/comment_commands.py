"""The commands that people give the farm in comments on the Hub."""

from __future__ import annotations

import re

REVERIFY = "/reverify"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def asks_for_reverification(text: str) -> bool:
    """Whether `/reverify` stands on a line of its own, outside code blocks and quotations."""
    fence = ""
    for line in text.splitlines():
        marked = _FENCE.match(line)
        if fence:
            # A block ends with at least as many of the same sign (CommonMark 0.31, section 4.5).
            if marked and marked[1].startswith(fence):
                fence = ""
        elif marked:
            fence = marked[1]
        elif line.rstrip() == REVERIFY:
            return True
    return False
