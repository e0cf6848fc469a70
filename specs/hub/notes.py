"""What the notes of a claim say of how it was scored, as far as a verdict depends on it. They are free text.

They name tools where they mention any, unless a plain denial stands right before or after the mention and ends its
part of the notes, as "no tools" and "tools: none" do. All else is read as naming them: a claim that is not run wrongs
nobody as much as one that is held against a run without the tools that it was made with, and its author is told and
can write "no tools".
"""

from __future__ import annotations

import re
from typing import Final

_KINDS: Final = (
    r"agentic|brows(?:er|ing)|(?:code|python)[ -]interpreter|(?:web|internet)[ -](?:search|browsing)"
    r"|function[ -]call(?:s|ing)"
)
"""Of tools: the model's wherever they are mentioned."""

_OTHER_KINDS: Final = (
    r"(?:code|python)[ -]execution|i?python(?!\ ?\(?v?[23]\b(?!-))|jupyter|search|web|internet|bash|shell"
    r"|terminal(?![ -]bench)|calculator|retrieval"
)
"""The model's where it is said to have had them: else they may be the benchmark's, or the farm's as "Python 3.11"."""

# Not of any word: "with beam search" has no tool.
_SUCH: Final = r"(?:(?:google|bing|brave|duckduckgo|live|sandboxed|stateful)[ -])?"

_NOT: Final = r"(?:no|not|never|without|w/o(?:ut)?|zero|neither|cannot|[a-z]+n['’]t|non(?=-))"
_FILL: Final = r"(?:(?:any|external|the|an?|use|using|of|access|to|make|had|allowed)[ -])*"
_USED: Final = r"(?:used|allowed|enabled|available|provided|given|permitted)"
_NONE: Final = rf"(?:none|no|off|false|null|n/a|0|disabled|unused|unavailable|{_NOT}\ {_USED})"

_TOOLS: Final = rf"""
    (?<![a-z]) (?> (?:{_KINDS}|{_OTHER_KINDS})[ -]tools? | {_KINDS} | {_OTHER_KINDS} | tools? )
    (?:[ -](?:use|usage|using|calls?|calling|access)(?![a-z]))?+ (?![a-z])
"""
_DENIAL: Final = re.compile(
    rf"""
    (?<![a-z])
    (?: {_NOT}[ -]{_FILL}
        (?: (?:{_TOOLS},\ )* {_TOOLS},?\ n?or\ (?:any\ )?(?:other\ )?{_FILL} )?  # A list of tools up to its "or".
        {_TOOLS} (?: \ (?:(?:was|were)\ )?{_USED} | [ -](?:setting|setup|mode) )?
      | (?<!some\ )(?<!other\ ) {_TOOLS} (?: (?:\ {_USED})?\ ?[:=]\ ? | \ (?:(?:is|are|was|were)\ )? ) {_NONE}
    )
    # It ends its part: "no tool limit" and "tools off by default" have them, as has "no tools (except Python)".
    (?= \ ? (?: $ | [,;()/] | [.](?!\d) | [|+&—–-]\  | and\b ) )
    (?! \W* (?:but|except|only|other|apart|besides)\b )
  | (?<![a-z])tools?-free(?![\w-])
    """,
    re.VERBOSE,
)
_MENTION: Final = re.compile(
    rf"""
    (?<![a-z])
    (?: tools? | {_KINDS} | (?:with\ |w/\ ?|using\ |uses\ ){_FILL}{_SUCH}(?:{_OTHER_KINDS})
      | (?:{_OTHER_KINDS}) (?: [ -](?:enabled|access|allowed) | \ ?[+&]\ ?(?:{_OTHER_KINDS}) ) )
    (?![a-z])
    """,
    re.VERBOSE,
)

_SCORER: Final = r"(?:eval(?:uation)?|benchmarking|lighteval|lm[ -]eval[\w-]*|mteb|inspect(?:[ -]ai)?)"
_SCORERS_TOOL: Final = re.compile(
    rf"\b(?:{_SCORER}[ -])?tool ?: ?{_SCORER}\b"
    rf"|\b{_SCORER}[ -]tool\b(?! ?:|[ -](?:us|call|enabled|access|allowed))"
)
"""With it the score was measured. Not "tools": "with inspect tools" has those of the model."""

_EITHER: Final = re.compile(
    r"(?<![a-z])(?:with|w/)[ -]?(?:(?:and|or|vs\.?|[/&+|,])[ -]?)+(?:without|w/o(?:ut)?|no)(?![a-z])"
)
"""Of scores both with and without: which of them it is, nobody knows."""

_OPTION: Final = re.compile(r"--[\w-]+")


def names_tools(notes: str | None) -> bool:
    """Whether a claim is of a model that could use tools, as the Hub's own "With tools" has it; absent notes mean none.

    An engine's option, as "--tool-call-parser", says so where no word does.
    """
    text = _SCORERS_TOOL.sub(";", _plain(notes))
    words = _OPTION.sub(";", text)
    return _MENTION.search(_DENIAL.sub(";", words if _MENTION.search(words) else text)) is not None


def names_a_setup(notes: str | None) -> bool:
    """Whether they say more of how a claim was scored than that there were no tools."""
    # YAML reads an unquoted `no` as false.
    return _DENIAL.sub("", _plain(notes)).strip(" ,;.") not in {"", "no", "none", "false"}


_PUNCTUATION: Final = str.maketrans({"_": " ", "[": ";", "]": ";", "!": ";", "?": ";"} | dict.fromkeys('"`*{}', None))


def _plain(notes: str | None) -> str:
    text = (notes or "").lower().replace("[]", "none").translate(_PUNCTUATION)
    # Around words, not within them: "weren't".
    return _EITHER.sub("with", " ".join(re.sub(r"(?<![a-z])'|'(?![a-z])", "", text).split()))
