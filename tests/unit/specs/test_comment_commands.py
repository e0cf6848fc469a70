"""When a comment asks for a re-verification, and when it only speaks of one."""

from __future__ import annotations

import pytest

from specs.hub.comment_commands import asks_for_reverification


@pytest.mark.parametrize(
    "text",
    ["/reverify", "/reverify  ", "hello\r\n/reverify\r\nbye", "```\nx\n```\n/reverify", "~~~\n```\n~~~\n/reverify"],
)
def test_a_line_of_its_own_asks(text: str) -> None:
    assert asks_for_reverification(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "please /reverify", "> /reverify", "/reverify now", "/REVERIFY", "    /reverify", "`/reverify`"),
        *("```\n/reverify\n```", "~~~\n/reverify", "````\n```\n/reverify\n````"),
    ],
)
def test_what_only_looks_like_it_does_not(text: str) -> None:
    assert not asks_for_reverification(text)
