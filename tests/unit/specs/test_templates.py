from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inspect_ai._util.format import format_template

from specs.hub.templates import check_template

CHOICE = frozenset({"question", "choices", "letters"})


def problems(template: str, known: frozenset[str] = CHOICE, *, lenient: bool = False) -> str:
    return "\n".join(check_template(template, known, lenient=lenient).problems)


@pytest.mark.parametrize("template", ["{question}\n{choices}", "\\boxed{{x}} {question}", "{letters!r}", "no fields"])
def test_plain_placeholders_are_fine(template: str) -> None:
    assert not problems(template)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{question.__class__.__mro__}", "reaches into a value"),
        ("{choices[0]}", "reaches into a value"),
        ("{question", "lone {"),
        ("a } b", "lone {"),
        ("{answer}", "cannot fill in"),
        ("{}", "cannot fill in"),
        ("{0}", "cannot fill in"),
        ("{question!x}", "!x"),
        ("{question:d}", "text has not"),
        ("{question:>99999999}", "width"),
        ("{question:{letters}}", "width"),
    ],
)
def test_what_str_format_fails_on_or_gives_away_is_a_problem(template: str, says: str) -> None:
    assert says in problems(template)


def test_the_lenient_formatter_leaves_unknown_braces_alone() -> None:
    known = frozenset({"prompt"})
    assert not problems("Explanation: {your explanation, e.g. a [b]: c}\n{prompt}", known, lenient=True)
    assert "reaches into" in problems("{prompt.__class__}", known, lenient=True)
    assert "reaches into" in problems("{other.__class__}", known, lenient=True)
    assert "mixes" in problems("{} {0}", known, lenient=True)
    assert "{0}" in check_template("\\boxed{} {prompt}", known, lenient=True).warnings[0]


@pytest.mark.parametrize(
    "template",
    [
        "/etc/passwd",
        "/etc/pass wd",
        "~/.ssh/id_rsa",
        "../secret file",
        "prompts/judge",
        "template.txt",
        "http://169.254.169.254/latest/meta-data",
        "s3://bucket/key",
        "simplecache::http://host/x",
        "file:/etc/passwd",
        " local:/etc/passwd",
    ],
)
def test_what_inspect_would_read_from_disk_or_network_is_a_problem(template: str) -> None:
    assert "path or an address" in problems(template)


@pytest.mark.parametrize("template", ["/no_think", "Answer.", "See https://example.org for {question}", "Yes / no?"])
def test_text_that_only_resembles_a_path_is_fine(template: str) -> None:
    assert not problems(template)


TEMPLATE_LIKE = st.lists(
    st.sampled_from(
        ["{", "}", "{{", "}}", "{prompt}", "{question}", "{x}", ":", "!r", "!", ".", "[", "]", "0", "_", "a "]
    )
).map("".join)


@given(TEMPLATE_LIKE)
@example("{x:!r}")
def test_what_passes_is_filled_in_by_str_format(template: str) -> None:
    known = dict.fromkeys(CHOICE, "text")
    if not problems(template):
        template.format(**known)


@given(TEMPLATE_LIKE)
@example("{prompt:a}")
def test_what_passes_is_filled_in_by_inspect(template: str) -> None:
    if not problems(template, frozenset({"prompt", "x"}), lenient=True):
        format_template(template, {"prompt": "text", "x": 1})
