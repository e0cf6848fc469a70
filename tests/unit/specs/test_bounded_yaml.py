from __future__ import annotations

import contextlib
import datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from specs.bounded_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, load
from specs.errors import SubmissionError, YamlError


def test_plain_yaml_reads_as_pyyaml_reads_it() -> None:
    text = "a: [1, 2.5, yes, null, ~, x, 2026-01-31, '1']\nb:\n  c: |\n    two\n    lines\n"
    assert load(text) == yaml.safe_load(text)
    assert load(b"when: 2025-01-15T10:30:00Z") == {"when": datetime.datetime(2025, 1, 15, 10, 30, tzinfo=datetime.UTC)}


@pytest.mark.parametrize(
    ("number", "value"),
    [("0", 0), ("-7", -7), ("57", 57), ("0.57", 0.57), ("-00.5", -0.5), ("0x1F", 31), (".5", 0.5), ("5.7e+1", 57.0)]
    + [(f"'{text}'", text) for text in ("057", "1_0", "1:30")]
    + [(text, text) for text in ("089", "v1_0", "2024_05_rc")],
)
def test_numbers_that_every_reader_takes_for_the_same_and_text_are_read(number: str, value: object) -> None:
    assert load(f"a: {number}") == {"a": value}


@pytest.mark.parametrize("text", ["", "# only a comment", "---\n", b"\xef\xbb\xbf# after a byte order mark"])
def test_nothing_is_none(text: str | bytes) -> None:
    assert load(text) is None


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: &x 1\nb: *x", 1, 4, "anchor"),
        ("a: 1\nb: *x", 2, 4, "alias"),
        ("a: 1\nb: 2\na: 3", 3, 1, "the key 'a' stands here a second time"),
        ("yes: 1\nTrue: 2", 2, 1, "second time"),
        ("base: {a: 1}\n<<: {a: 2}", 2, 1, "merge key"),
        ("a: !!python/object:os.system x", 1, 4, "tag"),
        ("a: !!binary aGk=", 1, 4, "tag"),
        ("a: !mine x", 1, 4, "tag"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("? [a, b]\n: c", 1, 3, "key must be plain text"),
        ("a: 1\n\tb: 2", 2, 1, "tab"),
        ("notes: Reasoning: medium", 1, 17, "in quotes"),
        ("when: 2026-13-45", 1, 7, "not a valid timestamp"),
        ("a: !!int x", 1, 4, "not a valid int"),
        ("a: !!timestamp x", 1, 4, "not a valid timestamp"),
        ("a: =", 1, 4, "lone ="),
        ("a: 'open", 1, 9, "ends inside a quoted text"),
        ("ok\nbad: \x00", 2, 6, "U+0000"),
        ("a: " + "9" * 65, 1, 4, "more than 64 digits"),
        ("value: 057", 1, 8, "write it as a plain decimal"),
        ("value: -0_5", 1, 8, "not the same number to every reader"),
        ("value: 1_0.5", 1, 8, "not the same number to every reader"),
        ("at: [1, 1:30]", 1, 9, "not the same number to every reader"),
        ("at: 1:30.5", 1, 5, "put text in quotes"),
        ("a: 0b101", 1, 4, "not the same number to every reader"),
        ("a: !!int '057'", 1, 4, "not the same number to every reader"),
        ("057: a", 1, 1, "not the same number to every reader"),
        ("a: " + "1:" * 40 + "1", 1, 4, "more than 64 digits"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert says in caught.value.reason
    assert f"line {line}, column {column}" in str(caught.value)
    assert isinstance(caught.value, SubmissionError)


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(YamlError, match="not UTF-8") as caught:
        load(b"a: 1\nb: \xff")
    assert caught.value.line == 2


def test_a_file_of_256_kib_is_read_and_one_byte_more_is_not() -> None:
    assert load(b"#" * MAX_BYTES) is None
    with pytest.raises(YamlError, match="262,145 bytes") as caught:
        load(b"#" * (MAX_BYTES + 1))
    assert caught.value.line is None


def test_32_levels_are_read_and_33_are_not() -> None:
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    for deeper in ("[" * (MAX_DEPTH + 1), "[" * 100_000, "- " * 100_000, "{a: " * 50_000):
        with pytest.raises(YamlError, match="32 levels"):
            load(deeper)


def test_more_values_than_any_real_file_has_are_refused() -> None:
    with pytest.raises(YamlError, match="more than 50,000 values"):
        load("[" + "1," * MAX_NODES + "1]")


def test_a_bomb_of_aliases_never_unfolds() -> None:
    lines = ["a: &a [x, x]"] + [f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(YamlError, match="anchor"):
        load("\n".join(lines))


YAML_LIKE = st.text(alphabet="abc:-?[]{},&*!|>'\"%@`#~=<\n \t.0123456789xeEnyT_+", max_size=80)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise_anything_but_a_yaml_error(text: bytes) -> None:
    with contextlib.suppress(YamlError):
        load(text)


@given(YAML_LIKE)
def test_what_is_read_is_what_pyyaml_reads(text: str) -> None:
    try:
        value = load(text)
    except YamlError:
        return
    assert repr(value) == repr(yaml.safe_load(text))
