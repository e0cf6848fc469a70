"""What the notes of a claim say of how it was scored, as far as a verdict depends on it. They are free text.

They name tools by the word, as in "With tools", or by their kind, as in "with Python" or "search enabled". Neither
counts where it is denied: before it ("no tools", "no browsing, Python or other tools") or after it ("tools: none").
What says the same in several words is first put in one (`_SHORTENED`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = re.compile(r"w/o|w/|n/a|\[\]|[a-z]+")
_TOOLS = frozenset({"tool", "tools"})

_WITH = frozenset({"with", "w/", "using", "uses", "use"})
_NOT = frozenset({"no", "not", "none", "without", "w/o", "never", "neither", "off"})
"""Before tools they deny them."""

_NONE = frozenset({"off", "none", "false", "n/a", "null", "[]"})
"""After tools they deny them, whatever comes next. YAML reads `no` as false."""

_TOOL_USE = frozenset({"use", "usage", "using", "call", "calls", "calling", "augmented", "assisted", "integrated"})
_ALLOWED = frozenset({"enabled", "access", "allowed", "on"})
"""After "tool", what makes it one of the model's: else the word may be of what the score was measured with."""

_NO_MORE = _NOT | _NONE | _TOOL_USE | _ALLOWED | {"free", "zero", "any", "external"}
"""After tools they deny them where nothing else follows: "With tools no CoT" has them."""

_KINDS = frozenset(
    {"python", "code", "coding", "interpreter", "execution", "search", "browser", "browsing", "web", "internet"}
    | {"bash", "shell", "terminal", "calculator", "retrieval", "agentic"}
)
_COUNTS = frozenset({"single", "one"})
_COUNTED = re.compile(r"(?<![\w.-])\d+[\s-]+$")
"""Before "tool", what makes it one of the model's; no version, as in "gpt-4 tool"."""

_KIND = re.compile(
    r"\b(?:(?:python|code)[\s-]+(?:interpreter|execution)|(?:web|internet)[\s-]+(?:search|browsing)"
    r"|function[\s-]+call(?:s|ing)|agentic|browsing|browser|search|web|internet|python|bash|shell|terminal|calculator"
    r"|retrieval)\b"
)
"""A model's tool by itself. No "code": notes are evaluated with that of others."""

_ONLY_THE_MODELS = re.compile(r"agentic|brows\w+|(?:web|internet)\W+\w+|(?:python|code)\W+interpreter")
"""Such as need no word beside them, as in "high, browsing": the others may be a part of the benchmark."""

_HAD = re.compile(r"(?:\b(?:with|using|uses)\s|\bw/)\s*(?:(?:an?|the)\s+)?$")
_SIGNS = re.compile(r"\s[/|+&-]\s")
_ITEM_BEGINS = re.compile(rf"(?:^|[,;:(\n]|\.\s|{_SIGNS.pattern})\s*$")
_ITEM_ENDS = re.compile(rf"(?:{_SIGNS.pattern}|\s*(?:$|[,;)\n]|\.(?!\d)|\((?!\s*v?\d)|(?:and|or|but|without|w/o)\b))")
"""No version, script or interface comes after it: "with Python 3.11" is of what the score was measured with."""

_MADE_USABLE = re.compile(r"[\s-]+(?:enabled|access|allowed)\b")

_NEAR = 3
"""Words before tools that may deny them, as in "no external tools", or in each part of a list of what there was not."""

_PART_ENDS = re.compile(r"[,;()\n]|\.(?!\d)")
_NEAR_ENDS = re.compile(rf"{_PART_ENDS.pattern}|\bbut\b")
"""A denial before "but" says nothing of what comes after it."""

_CLAUSE_ENDS = re.compile(r"[.;:()\n]|\b(?:and|but|with|using)\b")
_JOINTS = re.compile(r"(,|\bn?or\b)")
_DENIES_LISTS = frozenset({"no", "not", "without", "w/o"})

_BE = r"(?:\b(?:have|has|were|was|are|is)\s*)?"
_DO_NOT = (
    r"(?:\b(?:no|not|never|without|w/o|cannot)|n['’]t)\s+"
    r"(?:(?:the|any|be|been|have|had|make|making|allowed|permitted|to)\s+)*"
)
_SHORTENED = (
    # What the score was measured with.
    (
        r"\b(?:(?:evals?|evaluation|evaluating|benchmarking|testing|scoring|grading|measuring|lighteval|evalscope"
        r"|opencompass|helm|mteb)[\s-]+tools?"
        # Of these the plural is as well what a benchmark lets the model use.
        r"|(?:benchmarks?|tests?|harness|inspect(?:[\s_-]ai)?)[\s-]+(?:tool|tools(?=\s*:)))\b(?![\s-]+(?:us|call))",
        " ",
    ),
    # The "use" in them does not say that there were any.
    (rf"{_BE}{_DO_NOT}(?:using|uses?|access\s+to)\b(?:\s+of\b)?", " no "),
    (
        rf"{_BE}(?:{_DO_NOT}(?:used|allowed|enabled|available|provided|permitted|applicable)"
        r"|\b(?:off|disabled|disallowed|excluded|forbidden|prohibited|unavailable))\b",
        " off ",
    ),
    (
        r"\btools?-free\b|\bnon-tools?\b|\btools?\s*[:=]\s*0(?![\w.])"
        r"|(?:^|[,;:(\n]|\b(?:with|had|used|using)\s)\s*(?:0|zero)\s+tools?\b",
        ", no tools ",
    ),
)

_OPTION = re.compile(r"--[\w-]+")
_TOOL_OPTION = re.compile(r"--(?!no|disable)[\w-]*tool")


def names_tools(notes: str | None) -> bool:
    """Whether a claim is of a model that could use tools, as the Hub's own "With tools" has it.

    Absent notes mean none. What may be read either way names them: a claim that is not run wrongs nobody as much as one
    that is held against a run without the tools that it was made with.
    """
    text = (notes or "").lower()
    short = _OPTION.sub(" ", text)
    for words, less in _SHORTENED:
        short = re.sub(words, less, short)
    are_named = False
    for before, after in _around_tools(short):
        are_named = True
        if not _are_denied(before, after):
            return True
    # By an option the engine only can call tools: what is said in words goes before it.
    return not are_named and _TOOL_OPTION.search(text) is not None


def names_a_setup(notes: str | None) -> bool:
    """Whether they say more of how a claim was scored than that there were no tools."""
    return not set(_WORDS.findall((notes or "").lower())) <= _TOOLS | _WITH | _NO_MORE | {"non", "disabled"}


def _around_tools(text: str) -> Iterator[tuple[str, str]]:
    """What comes before and after each word for tools of the model's."""
    for words, are_the_models in ((_WORDS, _are_the_models), (_KIND, _is_one)):
        for each in words.finditer(text):
            before, after = text[: each.start()], text[each.end() :]
            if are_the_models(each[0], before, after):
                yield before, after


def _are_the_models(word: str, before: str, after: str) -> bool:
    """Whether it is the word "tools", and of the model's."""
    if word != "tool" or _COUNTED.search(before):
        return word in _TOOLS
    follows = set(_WORDS.findall(after)[:1])
    return not (_WITH | _KINDS | _COUNTS).isdisjoint(_near(before)) or bool(follows & (_TOOL_USE | _ALLOWED | _KINDS))


def _is_one(kind: str, before: str, after: str) -> bool:
    """Whether it is said of a kind of tools that the model had it."""
    if _MADE_USABLE.match(after):
        return True
    said = _HAD.search(before) is not None or (
        _ONLY_THE_MODELS.fullmatch(kind) is not None
        and _ITEM_BEGINS.search(before) is not None
        and not _end_denied_list(before, of_kinds=True)
    )
    return said and _ITEM_ENDS.match(after) is not None


def _near(before: str) -> list[str]:
    return _WORDS.findall(_NEAR_ENDS.split(before)[-1])[-_NEAR:]


def _are_denied(before: str, after: str) -> bool:
    part = _PART_ENDS.split(after)[0]
    item = _SIGNS.split(part.lstrip("/|+&- "))[0]
    follow = [word for word in _WORDS.findall(item) if word not in _TOOL_USE | _ALLOWED]
    # What comes after "but" may take it back, as in "not used by default but enabled".
    if follow and "but" not in _WORDS.findall(part) and (follow[0] in _NONE or _NO_MORE.issuperset(follow)):
        return True
    for word in reversed(_near(before)):
        if word in _NOT:
            return True
        if word in _WITH:
            return False
    return _end_denied_list(before)


def _end_denied_list(before: str, *, of_kinds: bool = False) -> bool:
    """Whether a list leads from a denial to what follows, as in "no browsing, code execution or other tools".

    Over a comma only where it is one of tools: "no majority voting, python or other tools" has them. What follows the
    last comma itself is of the list only where that is `of_kinds`.
    """
    *parts, _ = _JOINTS.split(_CLAUSE_ENDS.split(before)[-1])
    if not parts or (parts[-1] == "," and not of_kinds):
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
