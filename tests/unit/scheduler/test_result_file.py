"""A proof goes into one entry; every other byte stays."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scheduler.publish.result_file import NotEditable, Source, with_proof
from specs.bounded_yaml import load
from specs.errors import YamlError
from specs.hub.eval_results import parse

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ4In0.c2ln-_"
SOURCE = Source("https://farm.example/claims/1?a=b#c", "reprofarm: “checked”")

BLOCK = "- dataset:\n    id: a/b\n    task_id: t\n  value: 41.2\n  notes: no-tools\n"


def test_the_token_comes_after_the_value() -> None:
    assert with_proof(BLOCK.encode(), 0, TOKEN).decode() == (
        f"- dataset:\n    id: a/b\n    task_id: t\n  value: 41.2\n  verifyToken: {TOKEN}\n  notes: no-tools\n"
    )


def test_the_source_comes_after_the_token() -> None:
    written = with_proof(BLOCK.encode(), 0, TOKEN, Source("https://farm.example/c/1", "reprofarm")).decode()
    assert f"  value: 41.2\n  verifyToken: {TOKEN}\n  source:\n    url: " in written
    assert load(written)[0]["source"] == {"url": "https://farm.example/c/1", "name": "reprofarm"}  # type: ignore[index]  # load returns object


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # where the value is the last thing, with and without a line break after it
        ("- dataset: {id: a/b}\n  value: 1\n", "- dataset: {id: a/b}\n  value: 1\n  verifyToken: T\n"),
        ("- dataset: {id: a/b}\n  value: 1", "- dataset: {id: a/b}\n  value: 1\n  verifyToken: T"),
        ("- value: 1\n  dataset: {id: a/b}", "- value: 1\n  verifyToken: T\n  dataset: {id: a/b}"),
        ("- value: 1", "- value: 1\n  verifyToken: T"),
        # indentation
        ("-   value: 1\n    notes: x\n", "-   value: 1\n    verifyToken: T\n    notes: x\n"),
        ("  - value: 1\n    notes: x\n", "  - value: 1\n    verifyToken: T\n    notes: x\n"),
        ("-\n  value: 1\n", "-\n  value: 1\n  verifyToken: T\n"),
        ("-\n       value: 1\n", "-\n       value: 1\n       verifyToken: T\n"),
        ("- # mine\n  value: 1\n", "- # mine\n  value: 1\n  verifyToken: T\n"),
        # comments, documents, byte order mark
        ("- value: 1 # 48 + 2\n  notes: x\n", "- value: 1 # 48 + 2\n  verifyToken: T\n  notes: x\n"),
        ("- value: 1   \n# end\n", "- value: 1   \n  verifyToken: T\n# end\n"),
        ("- value: 1\n\n\n# end", "- value: 1\n  verifyToken: T\n\n\n# end"),
        ("---\n- value: 1\n...\n", "---\n- value: 1\n  verifyToken: T\n...\n"),
        ("%YAML 1.1\n---\n- value: 1\n", "%YAML 1.1\n---\n- value: 1\n  verifyToken: T\n"),
        ("\ufeff- value: 1\n", "\ufeff- value: 1\n  verifyToken: T\n"),
        # line ends
        ("- value: 1\r\n  notes: x\r\n", "- value: 1\r\n  verifyToken: T\r\n  notes: x\r\n"),
        ("- notes: x\r\n  value: 1", "- notes: x\r\n  value: 1\r\n  verifyToken: T"),
        ("- value: 1 # c\r  notes: x\r", "- value: 1 # c\r  verifyToken: T\r  notes: x\r"),
        ("- value: 1 # c\x85  notes: x\x85", "- value: 1 # c\x85  verifyToken: T\x85  notes: x\x85"),
        # quoting of others, and characters of several bytes before the place
        ("- 'value': 1\n", "- 'value': 1\n  verifyToken: T\n"),
        ("- notes: 📏 ünï\n  value: 1\n", "- notes: 📏 ünï\n  value: 1\n  verifyToken: T\n"),
        ("- value: !!float 1\n", "- value: !!float 1\n  verifyToken: T\n"),
        ("- value:\n    1\n  notes: x\n", "- value:\n    1\n  verifyToken: T\n  notes: x\n"),
        ("- notes: |\n    value: 2\n  value: 1\n", "- notes: |\n    value: 2\n  value: 1\n  verifyToken: T\n"),
        # flow style
        ("- {value: 1}\n", "- {value: 1, verifyToken: T}\n"),
        ("- {value: 1, notes: x}\n", "- {value: 1, verifyToken: T, notes: x}\n"),
        ("- { value: 1 }", "- { value: 1, verifyToken: T }"),
        ("- {\n  value: 1, # c\n  }\n", "- {\n  value: 1, verifyToken: T, # c\n  }\n"),
        ("- {value: 1 # c\n  }\n", "- {value: 1, verifyToken: T # c\n  }\n"),
        ("[{value: 1,}]", "[{value: 1, verifyToken: T,}]"),
        ('[{"value": 1}]', '[{"value": 1, "verifyToken": "T"}]'),
        ('[{"value":1,"notes":"x"}]', '[{"value":1, "verifyToken": "T","notes":"x"}]'),
        # a token that is there already
        ("- value: 1\n  verifyToken: old\n  notes: x\n", "- value: 1\n  verifyToken: T\n  notes: x\n"),
        ("- verifyToken: 'old' # c\n  value: 1\n", "- verifyToken: T # c\n  value: 1\n"),
        ("- verifyToken: null\n  value: 1\n", "- verifyToken: T\n  value: 1\n"),
        ("- verifyToken: ~\n  value: 1\n", "- verifyToken: T\n  value: 1\n"),
        ("- verifyToken:\n  value: 1\n", "- verifyToken: T\n  value: 1\n"),
        ("- verifyToken:   # proof\n  value: 1\n", "- verifyToken: T   # proof\n  value: 1\n"),
        ("- verifyToken:\n    old\n  value: 1\n", "- verifyToken:\n    T\n  value: 1\n"),
        ("- verifyToken: 'a\n    b'\n  value: 1\n", "- verifyToken: T\n  value: 1\n"),
        ("- value: 1\n  verifyToken:", "- value: 1\n  verifyToken: T"),
        ("- {verifyToken: null, value: 1}", "- {verifyToken: T, value: 1}"),
        ("- {verifyToken: , value: 1}", "- {verifyToken: T , value: 1}"),
        ("- {value: 1, verifyToken: }", "- {value: 1, verifyToken: T }"),
        ('[{"verifyToken":null,"value":1}]', '[{"verifyToken":"T","value":1}]'),
        ("- verifyToken: T\n  value: 1\n", "- verifyToken: T\n  value: 1\n"),
        # a misspelt one is not ours to remove
        ("- value: 1\n  verify_token: x\n", "- value: 1\n  verifyToken: T\n  verify_token: x\n"),
    ],
)
def test_every_layout_keeps_its_other_bytes(before: str, after: str) -> None:
    assert with_proof(before.encode(), 0, "T").decode() == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- value: 1\n", '- value: 1\n  source:\n    url: "U"\n    name: "N N"\n'),
        ("-    value: 1\r\n", '-    value: 1\r\n     source:\r\n       url: "U"\r\n       name: "N N"\r\n'),
        ("- source:\n  value: 1\n", '- source: {url: "U", name: "N N"}\n  value: 1\n'),
        ("- {value: 1}", '- {value: 1, source: {url: "U", name: "N N"}}'),
        ('[{"value": 1}]', '[{"value": 1, "source": {"url": "U", "name": "N N"}}]'),
        ('- "value": 1', '- "value": 1\n  "source":\n    "url": "U"\n    "name": "N N"'),
        ("- value: 1\n  source: {name: Paper}\n", "- value: 1\n  source: {name: Paper}\n"),
        ("- value: 1\n  source: {}\n", "- value: 1\n  source: {}\n"),
    ],
)
def test_a_source_is_put_in_only_where_there_is_none(before: str, after: str) -> None:
    written = with_proof(before.encode(), 0, source=Source("https://U", "N N")).decode()
    assert written.replace("https://U", "U") == after


def test_only_the_asked_entry_changes() -> None:
    text = BLOCK + "- {value: 2}\n" + BLOCK.replace("41.2", "3")
    written = with_proof(text.encode(), 1, TOKEN, SOURCE).decode()
    assert written.startswith(BLOCK)
    assert written.endswith(BLOCK.replace("41.2", "3"))
    written = with_proof(text.encode(), 2, TOKEN).decode()
    assert written.startswith(BLOCK + "- {value: 2}\n")


def test_neither_token_nor_source_changes_nothing() -> None:
    assert with_proof(BLOCK.encode(), 0) == BLOCK.encode()


@pytest.mark.parametrize(
    ("text", "index", "reason"),
    [
        ("- value: 1\n", 1, "no entry 1"),
        ("- value: 1\n", -1, "no entry -1"),
        ("", 0, "no entry 0"),
        ("value: 1\n", 0, "no entry 0"),
        ("- text\n", 0, "not a mapping with a value"),
        ("- dataset: {id: a/b}\n", 0, "not a mapping with a value"),
        ("- value: 1\n  verifyToken: |\n    old\n", 0, "cannot be replaced in place"),
        ("- value: 1\n  verifyToken: {a: b}\n", 0, "cannot be replaced in place"),
        ("- value: 1\n  verifyToken:\n    a: b # c\n", 0, "cannot be replaced in place"),
        ("- ? value\n  : 1\n  ? notes\n  : x\n", 0, "cannot be edited in place"),
        ("- {verifyToken, value: 1}\n", 0, "cannot be edited in place"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_words(text: str, index: int, reason: str) -> None:
    with pytest.raises(NotEditable, match=reason):
        with_proof(text.encode(), index, TOKEN)


@pytest.mark.parametrize("text", [b"- a: &x 1\n  value: *x\n", b"- value: 1\n  value: 2\n", b"- [", b"\xff"])
def test_what_is_not_plain_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(YamlError):
        with_proof(text, 0, TOKEN)


@pytest.mark.parametrize("token", ["", "a b", "a\n  value: 2", "a: b", "é"])
def test_only_a_token_is_put_in(token: str) -> None:
    with pytest.raises(NotEditable, match="not a token"):
        with_proof(BLOCK.encode(), 0, token)


def test_a_nan_beside_it_is_no_obstacle() -> None:
    assert with_proof(b"- value: .nan\n- value: 1\n", 1, "T") == b"- value: .nan\n- value: 1\n  verifyToken: T\n"


def test_every_accepted_entry_of_the_real_files_takes_a_proof(shared_data: Path) -> None:
    edited = 0
    for path in sorted((shared_data / "eval_results").iterdir()):
        text = path.read_bytes()
        for entry in parse(text).entries:
            if entry.claim is None:
                continue
            edited += 1
            proven = parse(with_proof(text, entry.index, TOKEN, SOURCE)).entries[entry.index].claim
            assert proven is not None
            assert proven.verify_token == TOKEN
            assert proven.source_url == (entry.claim.source_url or SOURCE.url)
            assert proven.value == entry.claim.value
    assert edited > 40


SCALARS = st.one_of(
    st.text(max_size=30),
    st.floats(allow_nan=False),
    st.integers(-(10**9), 10**9),
    st.none(),
    st.booleans(),
    st.dates(min_value=datetime.date(1000, 1, 1)),
)
ENTRIES = st.fixed_dictionaries(
    {"dataset": st.dictionaries(st.sampled_from(["id", "task_id", "revision"]), SCALARS), "value": st.floats()},
    optional={
        "verifyToken": st.none() | st.text(max_size=10),
        "notes": SCALARS,
        "source": st.none() | st.dictionaries(st.sampled_from(["url", "name"]), st.text(max_size=20)),
    },
).flatmap(lambda entry: st.permutations(list(entry.items())).map(dict))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, int]:
    entries = draw(st.lists(ENTRIES, min_size=1, max_size=3))
    if draw(st.booleans()):
        text = yaml.safe_dump(
            entries,
            default_flow_style=draw(st.sampled_from([None, False, True])),
            indent=draw(st.integers(2, 7)),
            width=draw(st.sampled_from([5, 40, 10_000])),
            allow_unicode=draw(st.booleans()),
            explicit_start=draw(st.booleans()),
            default_style=draw(st.sampled_from([None, '"', "'"])),
            sort_keys=False,
            line_break=draw(st.sampled_from(["\n", "\r\n"])),
        )
    else:
        text = json.dumps(entries, default=str, indent=draw(st.sampled_from([None, 1, 4])), ensure_ascii=False)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return text, draw(st.integers(0, len(entries) - 1))


@given(layout=layouts())
def test_a_generated_layout_is_edited_faithfully_or_refused(layout: tuple[str, int]) -> None:
    text, index = layout
    try:
        before = load(text.encode("utf-8", "surrogatepass"))
        written = with_proof(text.encode(), index, TOKEN, SOURCE).decode()
    except (YamlError, NotEditable, UnicodeEncodeError):
        return
    after = yaml.safe_load(written)
    assert isinstance(before, list)
    assert after[index].pop("verifyToken") == TOKEN
    if before[index].get("source") is None:
        assert after[index].pop("source") == {"url": SOURCE.url, "name": SOURCE.name}
        before[index].pop("source", None)
    before[index].pop("verifyToken", None)
    assert repr(after) == repr(before)
    # Nothing but what was put in is new: taking it out of the text, in any place, leaves the old text.
    assert _is_subsequence(text, written) or "verifyToken" in text or "source" in text


def _is_subsequence(short: str, long: str) -> bool:
    rest = iter(long)
    return all(character in rest for character in short)
