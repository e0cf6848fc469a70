from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.cli.terminal import ago, percent, points, shown

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (200_000, "2 d")],
)
def test_ages_are_told_in_the_largest_unit_that_fits(seconds: int, wanted: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == wanted


def test_a_missing_number_is_a_dash_and_zero_is_a_number() -> None:
    assert (percent(None), percent(0.0), percent(0.4115)) == ("–", "0.00 %", "41.15 %")
    assert (points(None), points(0.0123)) == ("–", "1.23 points")


def test_text_is_shown_on_one_line_without_what_acts() -> None:
    assert shown("a\nb\x1b[31m [red]c[/red]").plain == "a b [red]c[/red]"
    assert shown(None).plain == ""
