from __future__ import annotations

import pytest

from specs.hub.notes import names_a_setup, names_tools


@pytest.mark.parametrize(
    "notes",
    [
        "With tools",
        "With tools.",
        "with-tools",
        "tools",
        "Tools: python, search",
        "w/ tools",
        "Reasoning: medium, With tools",
        "No CoT, with tools",
        "using external tools",
        "tool use",
    ],
)
def test_notes_that_name_tools(notes: str) -> None:
    assert names_tools(notes)


@pytest.mark.parametrize(
    "notes",
    [
        None,
        "",
        "No tools",
        "no-tools",
        "without tools",
        "w/o tools",
        "without any external tools",
        "with no tools",
        "tools: none",
        "tool-free",
        "8-shot CoT",
        "EvalToolkit 2.1",
        "Obtained using MTEB v2.4.2",
        "acc, 0-shot, temp=1.0, sampling (non-standard)",
    ],
)
def test_notes_that_name_none(notes: str | None) -> None:
    assert not names_tools(notes)


@pytest.mark.parametrize("notes", ["8-shot CoT", "With tools, medium", "temp=1.0"])
def test_notes_that_name_a_setup(notes: str) -> None:
    assert names_a_setup(notes)


@pytest.mark.parametrize("notes", [None, "no-tools", "without any tools", "false", "No tools."])
def test_notes_that_say_no_more_than_that_there_were_no_tools(notes: str | None) -> None:
    assert not names_a_setup(notes)
