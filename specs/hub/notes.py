"""What the notes of a claim say of how it was scored, as far as a verdict depends on it. They are free text."""

from __future__ import annotations

import re

_WORDS = re.compile(r"w/o|w/|[a-z]+")
_TOOLS = frozenset({"tool", "tools"})
_NOT = frozenset({"no", "not", "none", "non", "without", "w/o", "zero", "free", "off", "disabled"})
_WITH = frozenset({"with", "w/", "using", "uses", "use"})
_FILLING = frozenset({"any", "external", "false"})
"""YAML reads `no` as false."""

_TOOL_USE = frozenset({"use", "usage", "using", "call", "calls", "calling", "augmented", "assisted", "integrated"})
"""After "tool", what makes it one of the model's: else the word may be of what the score was measured with."""

_NEAR = 3
"""Words before tools that may deny them, as in "no external tools", or in each part of a list of what there was not."""

_TO_MEASURE_WITH = re.compile(
    r"\b(?:evals?|evaluation|evaluating|benchmark(?:s|ing)?|test(?:s|ing)?|scoring|grading|measuring|harness|lighteval"
    r"|evalscope|opencompass|inspect(?:[\s_-]ai)?|helm|mteb)[\s-]+tools?\b(?![\s-]+(?:us|call))"
)
_CLAUSE_ENDS = re.compile(r"[.;:()\n]|\b(?:and|but|with|using)\b")
_PARTS = re.compile(r",|\bn?or\b")
_DENIES_LISTS = frozenset({"no", "not", "without", "w/o"})


def names_tools(notes: str | None) -> bool:
    """Whether a claim is of a model that could use tools, as the Hub's own "With tools" has it.

    Absent notes mean none, and so does all that is not plain: a claim is then held against a run without them.
    """
    text = _TO_MEASURE_WITH.sub(" ", (notes or "").lower())
    found = list(_WORDS.finditer(text))
    words = [each[0] for each in found]
    return any(
        each[0] in _TOOLS
        and _are_the_models(words, place)
        and not _is_denied(words, place)
        and not _ends_denied_list(text[: each.start()])
        for place, each in enumerate(found)
    )


def names_a_setup(notes: str | None) -> bool:
    """Whether they say more of how a claim was scored than that there were no tools."""
    return not set(_WORDS.findall((notes or "").lower())) <= _TOOLS | _NOT | _WITH | _FILLING


def _are_the_models(words: list[str], place: int) -> bool:
    if words[place] == "tools" or _TOOL_USE.intersection(words[place + 1 : place + 2]):
        return True
    return bool(_WITH.intersection(words[max(0, place - _NEAR) : place]))


def _is_denied(words: list[str], place: int) -> bool:
    after = place + 1
    while words[after : after + 1] and words[after] in _TOOL_USE:
        after += 1
    if words[after : after + 1] and words[after] in _NOT:
        return True
    for word in reversed(words[max(0, place - _NEAR) : place]):
        if word in _NOT:
            return True
        if word in _WITH:
            return False
    return False


def _ends_denied_list(before: str) -> bool:
    """Whether a list leads from a denial to what follows, as in "no browsing, code execution or other tools"."""
    clause = _CLAUSE_ENDS.split(before)[-1]
    for part in reversed(_PARTS.split(clause)):
        words = part.split()
        if not _DENIES_LISTS.isdisjoint(words):
            return True
        if len(words) > _NEAR or not all(word.replace("-", "").isalpha() for word in words):
            return False
    return False
