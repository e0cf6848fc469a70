from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.errors import SubmissionError
from specs.hub.leaderboard import LeaderboardRow, parse_leaderboard, parse_model_eval_results, written_in_percent

ROW = {"modelId": "org/model", "value": 48.3}
ENTRY = {"dataset": {"id": "org/bench", "task_id": "t"}, "value": 48.3}


def test_a_row_is_read_with_all_that_it_says() -> None:
    (entry,) = parse_leaderboard(
        [
            ROW
            | {
                "filename": ".eval_results/x.yaml",
                "verified": True,
                "pullRequest": 7,
                "notes": "With\ttools",
                "author": {"name": "me"},
                "unheard_of": 1,
            }
        ]
    )
    assert (entry.status, entry.warnings) == ("accepted", ())
    assert entry.row is not None
    assert (entry.row.pull_request, entry.row.verified) == (7, True)
    assert (entry.row.notes, entry.row.author_name) == ("With tools", "me")


def test_what_a_row_lacks_is_none_and_never_false_or_zero() -> None:
    (entry,) = parse_leaderboard([ROW | {"filename": None, "verified": None}])
    assert entry.status == "accepted_with_warning"
    assert entry.row is not None
    assert (entry.row.verified, entry.row.filename, entry.row.pull_request) == (None, None, None)


def test_a_file_name_outside_the_folder_is_not_followed() -> None:
    (entry,) = parse_leaderboard([ROW | {"filename": "../../etc/passwd"}])
    assert entry.row is not None
    assert entry.row.filename is None
    assert "no file of .eval_results/" in entry.warnings[0]


def test_one_bad_row_leaves_the_others_alone() -> None:
    entries = parse_leaderboard([ROW, "text", {"modelId": "a b", "value": "high"}, ROW])
    assert [entry.status.value for entry in entries] == [
        "accepted_with_warning",
        "rejected",
        "rejected",
        "accepted_with_warning",
    ]
    assert "modelId" in entries[2].reasons[0]
    assert "value" in entries[2].reasons[1]


def test_an_entry_of_a_model_is_read_with_and_without_its_envelope() -> None:
    wrapped, bare = parse_model_eval_results(
        [{"filename": ".eval_results/x.yaml", "verified": False, "data": ENTRY, "pullRequest": 44}, ENTRY]
    )
    assert wrapped.claim == bare.claim is not None


def test_a_file_that_the_hub_refused_is_rejected_in_its_words() -> None:
    (entry,) = parse_model_eval_results([{"filename": ".eval_results/x.yaml", "error": "value is \x1b[1mmissing"}])
    assert entry.status == "rejected"
    assert entry.reasons == ("the Hub refused the file: value is missing",)


@pytest.mark.parametrize("answer", [{"error": "not found"}, "text", None, 3])
def test_an_answer_that_is_no_list_is_an_error(answer: object) -> None:
    for parse in (parse_leaderboard, parse_model_eval_results):
        with pytest.raises(SubmissionError, match="not a list"):
            parse(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ROW_KEYS = ["modelId", "value", "filename", "verified", "notes", "author"]
KEYS = st.sampled_from([*ROW_KEYS, "data", "error", "pullRequest", "dataset"])


@given(st.lists(JSON | st.dictionaries(KEYS, JSON), max_size=3))
def test_no_answer_raises_anything_else(answer: list[object]) -> None:
    for row in parse_leaderboard(answer):
        assert (row.row is None) == (row.status == "rejected") == bool(row.reasons)
    for entry in parse_model_eval_results(answer):
        assert (entry.claim is None) == (entry.status == "rejected") == bool(entry.reasons)


def row(model: str, value: float, pull_request: int | None = None, author: str | None = None) -> LeaderboardRow:
    said = {"modelId": model, "value": value, "pullRequest": pull_request, "author": {"name": author}}
    return LeaderboardRow.model_validate(said)


@pytest.mark.parametrize(
    ("rows", "before", "percent"),
    [
        ([], False, False),
        ([], True, True),
        ([row("a/x", 57)], False, True),
        ([row("a/x", 0.57)], True, False),
        ([row("a/x", 0.57), row("b/x", 57)], False, False),
        ([row("a/x", 0.57), row("b/x", 57)], True, True),
        # One namespace has one voice, however many models it has; a percentage may be small.
        ([row("a/x", 0.5), row("b/x", 0.6), *(row(f"m/{n}", 57) for n in range(9))], False, False),
        ([row("a/x", 0.5), row("a/y", 30), row("b/x", 0.6)], True, True),
        # 0 is 0 on both scales.
        ([row("a/x", 0), row("b/x", 0), row("c/x", 12)], False, True),
        # What anybody proposes has no voice beside what stands on main.
        ([row("a/x", 0.5), *(row(f"v{n}/x", 57, pull_request=1, author=f"m{n}") for n in range(9))], False, False),
        ([row(f"v{n}/x", 57, pull_request=1, author="m") for n in range(9)] + [row("b/x", 0.4, 1, "n")], False, False),
        ([row("v/x", 57, pull_request=1)], False, True),
    ],
)
def test_scores_are_percentages_where_most_of_those_who_claim_write_them_so(
    rows: list[LeaderboardRow], *, before: bool, percent: bool
) -> None:
    assert written_in_percent(rows, before=before) is percent
