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
_ALLOWED = frozenset({"enabled", "access", "allowed", "on"})
"""After "tool", what makes it one of the model's: else the word may be of what the score was measured with."""

_KINDS = frozenset(
    {"python", "code", "coding", "interpreter", "execution", "search", "browser", "browsing", "web", "internet"}
    | {"bash", "shell", "terminal", "calculator", "retrieval", "agentic"}
)
_COUNTS = frozenset({"single", "one"})
_COUNTED = re.compile(r"(?<![\w.-])\d+[\s-]+$")
"""Before "tool", what makes it one of the model's; no version, as in "gpt-4 tool"."""

_NEAR = 3
"""Words before tools that may deny them, as in "no external tools", or in each part of a list of what there was not."""

_TO_MEASURE_WITH = re.compile(
    r"\b(?:(?:evals?|evaluation|evaluating|benchmarking|testing|scoring|grading|measuring|lighteval|evalscope|opencompass"
    r"|helm|mteb)[\s-]+tools?"
    # Of these the plural is as well what a benchmark lets the model use.
    r"|(?:benchmarks?|tests?|harness|inspect(?:[\s_-]ai)?)[\s-]+(?:tool|tools(?=\s*:)))\b(?![\s-]+(?:us|call))"
)
_NOT_USED = re.compile(
    r"(?:\b(?:have|has|were|was|are|is)\s*)?"
    r"(?:(?:\b(?:no|not|never|without|w/o|cannot)|n['’]t)\s+(?:(?:the|any|be|been|make|making|allowed|permitted|to)\s+)*"
    r"(?:use[sd]?|using|allowed|enabled|available|provided|permitted)(?:\s+of)?|\b(?:off|disabled))\b"
)
"""What says no more than "no", before tools or after them: its "use" does not say that there were any."""

_PART_ENDS = re.compile(r"[,;()\n]|\.(?!\d)")
_NEAR_ENDS = re.compile(rf"{_PART_ENDS.pattern}|\bbut\b")
"""A denial before "but" says nothing of what comes after it."""

_CLAUSE_ENDS = re.compile(r"[.;:()\n]|\b(?:and|but|with|using)\b")
_JOINTS = re.compile(r"(,|\bn?or\b)")
_DENIES_LISTS = frozenset({"no", "not", "without", "w/o"})


def names_tools(notes: str | None) -> bool:
    """Whether a claim is of a model that could use tools, as the Hub's own "With tools" has it.

    Absent notes mean none. What may be read either way names them: a claim that is not run wrongs nobody as much as one
    that is held against a run without the tools that it was made with.
    """
    text = _NOT_USED.sub(" no ", _TO_MEASURE_WITH.sub(" ", (notes or "").lower()))
    return any(
        each[0] in _TOOLS and _are_the_models(each[0], before, after) and not _are_denied(before, after)
        for each in _WORDS.finditer(text)
        for before, after in [(text[: each.start()], text[each.end() :])]
    )


def names_a_setup(notes: str | None) -> bool:
    """Whether they say more of how a claim was scored than that there were no tools."""
    return not set(_WORDS.findall((notes or "").lower())) <= _TOOLS | _NOT | _WITH | _FILLING


def _are_the_models(word: str, before: str, after: str) -> bool:
    if word == "tools" or _COUNTED.search(before):
        return True
    follows = set(_WORDS.findall(after)[:1])
    return not (_WITH | _KINDS | _COUNTS).isdisjoint(_near(before)) or bool(follows & (_TOOL_USE | _ALLOWED | _KINDS))


def _near(before: str) -> list[str]:
    return _WORDS.findall(_NEAR_ENDS.split(before)[-1])[-_NEAR:]


def _are_denied(before: str, after: str) -> bool:
    follow = _WORDS.findall(_PART_ENDS.split(after)[0])
    said = next((word for word in follow if word not in _TOOL_USE | _ALLOWED), None)
    # What comes after "but" may take it back, as in "not used by default but enabled".
    if said in _NOT | {"false"} and "but" not in follow:
        return True
    for word in reversed(_near(before)):
        if word in _NOT:
            return True
        if word in _WITH:
            return False
    return _end_denied_list(before)


def _end_denied_list(before: str) -> bool:
    """Whether a list leads from a denial to what follows, as in "no browsing, code execution or other tools".

    Over a comma only where it is one of tools: "no majority voting, python or other tools" has them.
    """
    *parts, _ = _JOINTS.split(_CLAUSE_ENDS.split(before)[-1])
    if not parts or parts[-1] == ",":
        return False
    for part, joint in zip(parts[-2::-2], parts[::-2], strict=True):
        words = part.split()
        if words and joint == "," and _KINDS.isdisjoint(_WORDS.findall(part)):
            return False
        if not _DENIES_LISTS.isdisjoint(words):
            return True
        if len(words) > _NEAR or not all(word.replace("-", "").isalpha() for word in words):
            return False
    return False
