from __future__ import annotations

import sys

import pytest

from deploy.studies import betting_coverage
from deploy.studies.betting_coverage import TOLD, Told, at_least, wrong_answers
from deploy.studies.coverage import EDGES


@pytest.mark.parametrize("told", TOLD)
def test_bets_on_thirds_err_no_more_often_than_alpha_whatever_they_are_told(told: Told) -> None:
    found = wrong_answers(0.4, 0.1, 60, 0.2, told, 60)
    assert found.sequences == 60 * len(EDGES)
    assert found.alpha_explains(0.2)
    # At so large an alpha wrong answers do occur: what is counted can be seen.
    assert 0 < sum(found.wrong.values()) < found.early
    assert not found.alpha_explains(0.001)


def test_the_binomial_tail_is_that_of_coins() -> None:
    assert at_least(0, 10, 0.3) == 1
    assert at_least(2, 3, 0.5) == pytest.approx(0.5)
    assert at_least(3, 3, 0.1) == pytest.approx(0.001)
    # The mean of a count is the sum of its tails.
    assert sum(at_least(k, 50, 0.02) for k in range(1, 51)) == pytest.approx(1.0)


def test_more_wrong_answers_than_alpha_explains_fail_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["betting_coverage", "--samples", "198", "--sequences", "40"])
    assert betting_coverage.main() == 0
    # Tests with a far larger alpha than they are judged by.
    tested = betting_coverage.wrong_answers
    monkeypatch.setattr(
        betting_coverage, "wrong_answers", lambda c, t, n, _, told, each: tested(c, t, n, 0.4, told, each)
    )
    assert betting_coverage.main() == 1
