from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.text import clean, is_clean


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;new title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]unended", ""),
        ("a\x1bcb", "ab"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("tag\U000e0041", "tag"),
        ("line\u2028separator", "line separator"),
        ("bell\x07 null\x00", "bell null"),
        ("half \ud800 surrogate", "half surrogate"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_what_acts_is_removed_and_what_shows_stays(hostile: str, shown: str) -> None:
    assert clean(hostile, 100) == shown


def test_a_long_text_is_cut_with_an_ellipsis_that_counts() -> None:
    assert clean("x" * 11, 10) == "x" * 9 + "…"
    assert clean("x" * 10, 10) == "x" * 10


@given(st.text(max_size=300), st.integers(1, 50))
def test_cleaned_text_is_one_clean_line_within_its_length(text: str, max_chars: int) -> None:
    cleaned = clean(text, max_chars)
    assert len(cleaned) <= max_chars
    assert is_clean(cleaned)
    assert "\x1b" not in cleaned
    assert clean(cleaned, max_chars) == cleaned
    cleaned.encode("utf-8")
    assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in cleaned)


@pytest.mark.parametrize("text", [" x", "x ", "a\nb", "a\u202eb", "a\x00", "a\u2028b", "a\uffff", "a\U0001fffe"])
def test_an_identifier_hides_nothing(text: str) -> None:
    assert not is_clean(text)
