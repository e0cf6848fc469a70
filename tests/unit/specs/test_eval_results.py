from __future__ import annotations

import textwrap

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from specs.hub.eval_results import ResultEntry, is_result_path, parse
from specs.hub.submission import SubmissionStatus

FULL = """
    - dataset:
        id: TIGER-Lab/MMLU-Pro
        task_id: mmlu_pro
        revision: 5503434ddd753f426f4b38109466949a1217c2bb
      value: 20.90
      verifyToken: aa.bb.cc
      date: "2026-01-31"
      source: {url: "https://example.org/x", name: Traces, user: me, org: us}
      notes: "no-tools"
"""


def only(text: str) -> ResultEntry:
    """The one entry of a file."""
    (entry,) = parse(textwrap.dedent(text).encode()).entries
    return entry


def entry_with(**changes: object) -> ResultEntry:
    """A small entry with keys replaced."""
    item = {"dataset": {"id": "org/bench", "task_id": "t"}, "value": 0.5} | changes
    return only(yaml.safe_dump([item]))


def test_a_full_entry_is_accepted_as_written() -> None:
    entry = only(FULL)
    assert (entry.status, entry.reasons, entry.warnings, entry.index) == (SubmissionStatus.ACCEPTED, (), (), 0)
    assert entry.claim is not None
    assert entry.claim.model_dump() == {
        "dataset_id": "TIGER-Lab/MMLU-Pro",
        "task_id": "mmlu_pro",
        "dataset_revision": "5503434ddd753f426f4b38109466949a1217c2bb",
        "value": 20.9,
        "date": "2026-01-31",
        "source_url": "https://example.org/x",
        "notes": "no-tools",
        "verify_token": "aa.bb.cc",
    }


def test_nulls_mean_absent() -> None:
    entry = entry_with(verifyToken=None, date=None, source=None, notes=None)
    assert entry.status is SubmissionStatus.ACCEPTED
    assert entry.claim is not None
    assert entry.claim.source_url is None
    assert entry.claim.notes is None


@pytest.mark.parametrize("value", [0, 1, 0.412, 100, 20.9, 1.2532])
def test_a_score_is_kept_unscaled(value: float) -> None:
    entry = entry_with(value=value)
    assert entry.status is SubmissionStatus.ACCEPTED
    assert entry.claim is not None
    assert entry.claim.value == value


@pytest.mark.parametrize("value", ["48.3", "48.3%", True, float("nan"), float("-inf"), [1], {"mean": 1}])
def test_what_is_no_finite_number_is_rejected(value: object) -> None:
    entry = entry_with(value=value)
    assert entry.status is SubmissionStatus.REJECTED
    assert "value: must be a" in entry.reasons[0]


def test_a_score_beyond_every_scale_is_questioned() -> None:
    assert "neither a fraction nor a percentage" in entry_with(value=1250).warnings[0]
    assert "neither a fraction nor a percentage" in entry_with(value=-0.1).warnings[0]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2025-01-15", "2025-01-15"),
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00+00:00"),
        ("'2025-01-15T10:30:00Z'", "2025-01-15T10:30:00Z"),
    ],
)
def test_a_date_is_the_same_with_and_without_quotes(text: str, date: str) -> None:
    entry = only(f"- {{dataset: {{id: a/b, task_id: t}}, value: 1, date: {text}}}")
    assert entry.status is SubmissionStatus.ACCEPTED
    assert entry.claim is not None
    assert entry.claim.date == date


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": {"id": "squad", "task_id": "t"}}, "no namespace"),
        ({"dataset": {"id": "a/b"}}, "task_id is missing"),
        ({"dataset": {"id": "a/b", "task_id": 7}}, "taken as the text '7'"),
        ({"dataset": {"id": "a/b", "task_id": "t", "revision": "main"}}, "may move"),
        ({"dataset": {"id": "a/b", "task_id": "t", "revision": "1"}}, "may move"),
        ({"dataset": {"id": "a/b", "task_id": "t", "revision": "../x"}}, "not a revision"),
        ({"dataset": {"id": "a/b", "task_id": "t", "split": "test"}}, "'split' is not a key"),
        ({"verifyToken": "<token>"}, "placeholder"),
        ({"verify_token": "aa.bb.cc"}, "the Hub's name of this key is verifyToken"),
        ({"notes": False}, "taken as 'no'"),
        ({"date": "last week"}, "ISO 8601"),
        ({"metric": "acc"}, "'metric' is not a key"),
    ],
)
def test_what_can_be_read_in_one_way_is_accepted_with_a_warning(changes: dict[str, object], says: str) -> None:
    entry = entry_with(**changes)
    assert entry.status is SubmissionStatus.ACCEPTED_WITH_WARNING
    assert says in "\n".join(entry.warnings)
    assert entry.claim is not None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": None}, "dataset is missing"),
        ({"dataset": "org/bench"}, "dataset: must be a mapping"),
        ({"dataset": {"task_id": "t"}}, "dataset.id is missing"),
        ({"dataset": {"id": "datasets/org/bench", "task_id": "t"}}, "dataset.id"),
        ({"dataset": {"id": "../etc", "task_id": "t"}}, "dataset.id"),
        ({"dataset": {"id": "a/b", "task_id": "t\u202e"}}, "dataset.task_id"),
        ({"dataset": {"id": "a/b", "task_id": ""}}, "dataset.task_id"),
        ({"dataset": {"id": "a/b", "task_id": ["t"]}}, "dataset.task_id"),
        ({"source": {"name": "me"}}, "source.url is missing"),
        ({"source": {"url": "javascript:alert(1)"}}, "source.url"),
        ({"source": {"url": "https://x y"}}, "source.url"),
        ({"source": "https://x"}, "source: must be a mapping"),
        ({"value": None}, "value is missing"),
        ({"value": None, "metrics": [{"value": 1}]}, "metrics[].value"),
        ({"notes": ["a"]}, "notes"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_the_field(changes: dict[str, object], says: str) -> None:
    entry = entry_with(**changes)
    assert entry.status is SubmissionStatus.REJECTED
    assert says in "\n".join(entry.reasons)
    assert entry.claim is None


def test_hostile_text_is_cleaned() -> None:
    entry = entry_with(notes="a\x1b[2Jb\u202ec" + "x" * 9000)
    assert entry.claim is not None
    assert entry.claim.notes is not None
    assert entry.claim.notes.startswith("abcxxx")
    assert len(entry.claim.notes) == 2000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no entries"),
        ("[]", "no entries"),
        ("results: [{a: 1}]", "move the list out of 'results'"),
        ("just text", "must be a list"),
        ("- a: &x 1", "line 1"),
    ],
)
def test_a_file_that_is_no_list_has_reasons_and_no_entries(text: str, says: str) -> None:
    found = parse(text.encode())
    assert found.entries == ()
    assert says in found.reasons[0]


@pytest.mark.parametrize("path", [".eval_results/x.yaml", ".eval_results/a b.yml"])
def test_result_files_are_yaml_files_of_their_folder(path: str) -> None:
    assert is_result_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".eval_results/x.md",
        "x.yaml",
        ".eval_results/a/x.yaml",
        ".eval_results/../x.yaml",
        f".eval_results/{'x' * 300}.yaml",
    ],
)
def test_other_files_are_no_result_files(path: str) -> None:
    assert not is_result_path(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.datetimes() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
SECTION = st.sampled_from(["id", "task_id", "revision", "url", "name", "user", "org", "x"])
KEY = st.sampled_from(["dataset", "value", "verifyToken", "verify_token", "date", "source", "notes", "metrics", "x"])


@given(st.lists(st.dictionaries(KEY, VALUES | st.dictionaries(SECTION, VALUES)) | VALUES, max_size=3))
def test_no_structure_raises(items: list[object]) -> None:
    for entry in parse(yaml.safe_dump(items).encode()).entries:
        assert (entry.claim is None) == (entry.status is SubmissionStatus.REJECTED) == bool(entry.reasons)
