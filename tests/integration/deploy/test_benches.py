"""That the benches measure what they say, in sizes that say nothing of how fast anything is."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bench.page import put_into
from deploy.bench.poll import poll_cost
from deploy.bench.report import of_poll, of_verdicts, table
from deploy.bench.verdict_rate import pace


def test_a_poll_asks_for_what_changed_and_not_for_what_is_there() -> None:
    found = poll_cost(benchmarks=3, results=8, changes=2)
    assert found.whole.claims == found.changed.claims == 24
    assert found.unchanged.requests == {"list of benchmarks": 1, "leaderboard, unchanged": 3}
    assert found.changed.requests["leaderboard"] == 2
    assert found.changed.requests["file"] == 2
    assert found.changed.total < found.whole.total / 4
    assert "nothing changed" in table(list(of_poll(found)))


def test_every_claim_of_the_pace_gets_a_true_verdict_from_real_processes() -> None:
    found = pace(claims=10, sharing=2, bare=10)
    assert found.verified == 10
    (line,) = of_verdicts({"SQLite": found})
    assert line.ratio == pytest.approx(found.claims / found.seconds / found.bare_per_second)


def test_figures_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- one: written by command -->\nold\n<!-- end of one -->\nafter\n")
    put_into(page, "one", "new\n")
    assert page.read_text() == "before\n<!-- one: written by command -->\n\nnew\n\n<!-- end of one -->\nafter\n"
    with pytest.raises(ValueError, match="no place for two"):
        put_into(page, "two", "new")
