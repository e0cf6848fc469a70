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
        "tool-augmented",
        "5-shot, tool calls allowed",
        "with a search tool",
        "0-shot eval, tools",
        "evaluated with lighteval, with tools",
        "with retrieval tools",
        "agentic benchmark tool use",
        "no CoT, temperature 0.6, python, tools",
        "No system prompt. Python, browsing, tools",
        "no CoT but python, browsing, tools",
        "Python tool",
        "gpt-oss-120b high, python tool",
        "python tool enabled",
        "Tool-enabled",
        "tool access",
        "Tool: python",
        "Code interpreter tool",
        "Web search tool enabled",
        "agentic (search tool)",
        "1 tool (python)",
        "a single tool",
        "bash tool and a file editing tool",
        "pass@1, no majority voting, python tools",
        "pass@1, no majority voting, python or other tools",
        "no majority voting, Python interpreter, tools enabled",
        "no majority voting, tools",
        "no CoT, python tool",
        "With tools, no majority voting",
        "Python tools. No CoT",
        "with inspect tools",
        "uses inspect tools (bash, python)",
        "benchmark tools allowed",
        "no CoT using tools",
        "zero-shot using tools",
        "enable_thinking=false tools=true",
        "thinking off with tools",
        "not using CoT, with tools",
        "CoT not used, tools used",
        "tools were not limited to python",
        "tools were used",
        "2 tool",
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
        "tool use: none",
        "no tool calls",
        "no browsing, code execution or other tools",
        "without python, browsing, or tools",
        "evaluated without python, web browsing, or any other external tools",
        "8-shot; did not use python, browsing or tools",
        "evaluated with our internal evaluation tool, 5-shot",
        "measured with the lighteval tool",
        "using the inspect-ai tool",
        "with standard benchmarking tools",
        "Tool: lm-evaluation-harness 0.4.9",
        "eval tool: inspect-ai",
        "eval tool: lighteval",
        "8-shot CoT, tool: lm-evaluation-harness",
        "temperature 1.0, Python 3.11, tool: lm-evaluation-harness",
        "Inspect eval tool",
        "Inspect tools: inspect-ai 0.3",
        "no tools, no internet",
        "no python tool",
        "no chain of thought or tools",
        "Code interpreter tool: none",
        "python tool disabled",
        "tool access: none",
        "did not use tools",
        "didn't use any tools",
        "does not use any tools",
        "cannot use tools",
        "no use of tools",
        "without use of tools",
        "without the use of any external tools",
        "did not make use of tools",
        "was not allowed to use tools",
        "not using tools",
        "without using any external tools",
        "not using python, browsing or other tools",
        "tools were not used",
        "tools weren't used",
        "tools are not enabled",
        "tools have not been used",
        "tools were disabled",
        "tools not used",
        "tools=false",
        "tools: off",
        "tool use: no",
        "tool use: false",
        "judge: gpt-4 tool",
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
