"""What the notes of a claim say of how it was scored, as far as a verdict depends on it. They are free text."""

from __future__ import annotations

import re

_WORDS = re.compile(r"w/o|w/|[a-z]+")
_TOOLS = frozenset({"tool", "tools"})
_NOT = frozenset({"no", "not", "none", "non", "without", "w/o", "zero", "free", "off", "disabled"})
_WITH = frozenset({"with", "w/", "using", "uses", "use"})
_FILLING = frozenset({"any", "external", "false"})
"""YAML reads `no` as false."""

_NEAR = 3
"""Words before tools that may deny them, as in "no external tools"."""


def names_tools(notes: str | None) -> bool:
    """Whether a claim is of a model that could use tools, as the Hub's own "With tools" has it.

    Absent notes mean none, and so does all that is not plain: a claim is then held against a run without them.
    """
    words = _WORDS.findall((notes or "").lower())
    return any(word in _TOOLS and not _is_denied(words, place) for place, word in enumerate(words))


def names_a_setup(notes: str | None) -> bool:
    """Whether they say more of how a claim was scored than that there were no tools."""
    return not set(_WORDS.findall((notes or "").lower())) <= _TOOLS | _NOT | _WITH | _FILLING


def _is_denied(words: list[str], place: int) -> bool:
    if words[place + 1 : place + 2] and words[place + 1] in _NOT:
        return True
    for word in reversed(words[max(0, place - _NEAR) : place]):
        if word in _NOT:
            return True
        if word in _WITH:
            return False
    return False
