"""Answers that hold the model's thoughts, and whether the scorer may have taken those for the answer.

A chat template that opens `<think>` itself has the thoughts come about as part of the text, up to a `</think>`: Inspect
takes out only what stands between both marks.

Some of Inspect's scorers (0.3.285) take the last of what they look for. But what they look for has more than one form,
and a stronger one in the thoughts goes before a weaker one in the answer. So does any form, where the answer has none.

| scorer                 | forms, the strongest first                                 | in Inspect           |
| ---------------------- | ---------------------------------------------------------- | -------------------- |
| choice                 | a line that is `ANSWER: X`; `ANSWER: X` anywhere           | `parse_answers`      |
| math                   | a box; "the answer is" and its kin; formulas between marks | `_answer_candidates` |
| match, numeric, at end | a word that is a number                                    | `match_str`          |
| match otherwise at end | the last words, whatever they are                          | `match_str`          |

The forms are written anew: Inspect's go back over long runs of blanks again and again, and a log is a stranger's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from inspect_ai.log import EvalLog, EvalSample

_END = "</think>"

_AROUND = r"!?:;()\[\]{}'\"`$€£*_"
_CHOICE = (
    re.compile(r"(?im)^ANSWER\s*+:\s*+[$*(]{0,3}\s*+[A-Z\d ,]++[$*)]{0,3}[^\S\n]*+(?:$|\.)"),
    re.compile(r"(?i)ANSWER\s*+:\s*+[$*(]{0,3}\s*+[A-Z\d ,]"),
)
_MATH = (
    re.compile(r"(?:oxed|fbox)\s*+\{"),
    re.compile(r"(?i)(?:answer|result)\s*+(?:is\b|[:=])"),
    re.compile(r"\$|\\[(\[]"),
)
_NUMBER = (re.compile(rf"(?<!\S)[{_AROUND}.,+-]*+\d[\d.,*_eE+-]*+[{_AROUND}]*+(?!\S)"),)


def thoughts_reader(header: EvalLog | None) -> Callable[[EvalSample], bool]:
    """What tells of an answer whether the first scorer may have taken the model's thoughts for it."""
    first = next(iter(header.eval.scorers or []), None) if header is not None else None
    options = (first.options or {}) if first is not None else {}
    if first is None or (first.name == "match" and options.get("location", "end") != "end"):
        return holds_thoughts
    if first.name == "match":
        return _prefers_thoughts(_NUMBER if options.get("numeric") else ())
    forms = {"choice": _CHOICE, "math": _MATH}.get(first.name)
    return _prefers_thoughts(forms) if forms is not None else holds_thoughts


def holds_thoughts(answer: EvalSample) -> bool:
    """Whether the answer's text is the model's thoughts as well, up to a `</think>` whose opening is not in it."""
    return _END in answer.output.completion


def _prefers_thoughts(forms: Sequence[re.Pattern[str]]) -> Callable[[EvalSample], bool]:
    """Whether the thoughts have a stronger form than what comes after them."""

    def prefers(answer: EvalSample) -> bool:
        text = answer.output.completion
        end = text.rfind(_END) + len(_END)
        if end < len(_END):
            return False
        # Places in the whole text, as what comes after the mark is not the beginning of a line.
        return _strongest(forms, text, 0, end) < _strongest(forms, text, end, len(text))

    return prefers


def _strongest(forms: Sequence[re.Pattern[str]], text: str, start: int, end: int) -> int:
    """Which of the forms is there; as many as there are where none is."""
    return next((place for place, form in enumerate(forms) if form.search(text, start, end)), len(forms))
