"""The Hub's headers are text from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.hub.hub_limits import OTHER, read_limit

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_answers_headers_say_what_is_left_of_which_quota_until_when() -> None:
    headers = {"RateLimit": '"api";r=12;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    found = read_limit(headers, AT)
    assert found is not None
    assert (found.resource, found.remaining, found.quota) == ("api", 12, 500)
    assert found.resets_at == AT + timedelta(seconds=55)


@pytest.mark.parametrize(
    "told",
    ["", "nonsense", '"api";r=-1;t=5', '"api";r=99999999999999;t=5', '"api";r=1;t=99999999999999', '"api";r=1'],
)
def test_headers_that_make_no_sense_say_nothing(told: str) -> None:
    assert read_limit({"ratelimit": told}, AT) is None


def test_a_kind_that_nobody_knows_makes_no_name_of_its_own() -> None:
    found = read_limit({"ratelimit": '"evil_1";r=1;t=5', "ratelimit-policy": "q=99999999999999;w=3"}, AT)
    assert found is not None
    assert (found.resource, found.quota) == (OTHER, None)
