"""Text from outside, made safe to show on a terminal, in HTML text, in JSON or in Markdown source.

This removes characters that act instead of showing. It does not escape: HTML, Markdown and terminal markup each have
their own escape, which belongs where the text is put into them.
"""

from __future__ import annotations

import re
import unicodedata

# ECMA-48 control sequences (CSI), strings (OSC, DCS, SOS, PM, APC up to BEL or ST) and two-character escapes, in their
# 7-bit and 8-bit forms. They go as a whole: without its ESC, "[31m" would stay behind as litter.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_WHITE_SPACE = re.compile(r"\s+")
# Controls, format characters (bidirectional overrides, zero width space, tags, byte order marks), lone surrogates.
_ACTING_CATEGORIES = frozenset({"Cc", "Cf", "Cs"})
# The zero width joiner and non-joiner are needed to write Persian, Hindi and many emoji.
_HARMLESS = frozenset("\u200c\u200d")


def clean(text: str, max_chars: int) -> str:
    """`text` as one line of at most `max_chars` characters, without characters that act instead of showing.

    White space of any kind becomes single spaces. What is cut off is marked by an ellipsis, which counts.
    """
    # Cut before the costly steps: only so much of a hostile text can end up in the result.
    text = text[: max_chars * 8]
    if not (text.isascii() and text.isprintable()):
        # Most text has nothing of the kind.
        text = _ESCAPE_SEQUENCE.sub("", text)
        text = "".join(c for c in text if c.isspace() or not _acts(c))
    text = _WHITE_SPACE.sub(" ", text).strip()
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"


def clean_lines(text: str) -> str:
    """`text` line by line, each as `clean` leaves it, of at most 1000 characters: a worker's words, for example.

    Those end with what an engine or a spec said.
    """
    return "\n".join(clean(line, 1000) for line in text.splitlines())


def is_clean(text: str) -> bool:
    """Whether `text` can be an identifier: one line without characters that act, no space at either end."""
    return text == text.strip() and not any(_acts(c) or c in "\u2028\u2029" for c in text)


def _acts(character: str) -> bool:
    if ord(character) & 0xFFFE == 0xFFFE:
        # U+FFFE, U+FFFF and their like in other planes are no characters at all: XML with one of them is none.
        return True
    return unicodedata.category(character) in _ACTING_CATEGORIES and character not in _HARMLESS
