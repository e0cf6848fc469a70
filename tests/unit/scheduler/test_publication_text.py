"""What is written on the Hub says everything, and nothing from outside acts in it."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from deploy.bench.greedy import GREEDY
from scheduler.publish.text import (
    Mismatch,
    Ran,
    answer_body,
    body,
    body_mark,
    code,
    link,
    mismatch_body,
    plain,
    title,
    title_mark,
)
from specs.measurement import Circumstances
from specs.text import clean
from tests.support.attestations import attestation

VERDICT = "0123456789abcdef0123456789abcdef"
TOKEN = "eyJh.eyJp.c2ln"
HOSTILE = ["`", "``", "a`b``c", "\n\n# Hi", "@everyone", "<script>", "](http://x)", "|", "-->", "![i](http://x/i.png)"]


def circumstances(**changes: Any) -> Circumstances:
    facts: dict[str, Any] = {
        "versions": {"vllm": "0.32.0"},
        "hardware": "CPU x86_64, 2 cores",
        "engine_arguments": ("--dtype", "float32"),
        "generation": GREEDY.model_copy(update={"seed": 7}),
        "seed": 7,
        "chat_template_sha256": None,
        "epochs": 1,
        "judges": {},
    }
    return Circumstances(**{**facts, **changes})


def written(**changes: Any) -> str:
    proposed = changes.pop("proposed", False)
    ran = circumstances(
        **{key: changes.pop(key) for key in ("hardware", "judges", "engine_arguments") if key in changes}
    )
    return body(attestation(**changes), Ran(ran, None), TOKEN, VERDICT, proposed=proposed)


def test_the_text_says_how_many_samples_are_left_out_of_the_score() -> None:
    assert "samples: 147 of 150; 3 more failed and are left out\n" in written(samples_used=147, failed=3)


def test_the_text_holds_every_fact_that_a_reader_needs() -> None:
    text = written(samples_used=60, interval={"low": 0.37, "high": 0.43}, judges={"self": "self"})
    for fact in (
        "`41.2`",
        "claimed: 41.20 %",
        "reproduced: **40.00 %** ± 2.00 (standard error)",
        "difference: 1.20 points; up to 8.00 count as reproduced",
        "samples: 60 of 150\n",
        "all of them would score 37.00 to 43.00 %, and give another verdict with a chance of at most 0.001. "
        "The run stopped when that was sure.\n",
        f"model `smol/one` at `{'a' * 40}`",
        f"benchmark `facts/capitals` at `{'b' * 40}`, task `capitals`",
        f"SHA-256 `{'c' * 64}`",
        "versions: `inspect_ai 0.3.285, vllm 0.32.0`",
        "hardware: `CPU x86_64, 2 cores`",
        "engine arguments: `--dtype float32`",
        "sampling: `temperature 0.0, top_p 1.0, top_k -1,",
        "judges: `self: self`",
        "<https://farm.example/v1/evidence/dddd>",
        f"\nreprofarm verify-token {TOKEN} --api https://farm.example\n",
    ):
        assert fact in text
    assert "max_tokens" not in text
    assert text.endswith(body_mark(VERDICT))


def test_a_full_run_is_not_called_a_partial_one() -> None:
    assert "samples: 150 of 150\n" in written()


def test_a_missing_standard_error_is_not_written_as_a_number() -> None:
    assert "reproduced: **40.00 %**\n" in written(standard_error=None)


def test_the_title_ends_with_the_mark_however_long_the_names_are() -> None:
    found = attestation(dataset=f"{'o' * 90}/{'d' * 90}", task="t" * 200)
    assert len(title(found, VERDICT)) <= 200
    assert title(found, VERDICT).endswith(title_mark(VERDICT))
    assert title(attestation(), VERDICT) == "41.2 on facts/capitals (capitals) was reproduced (reprofarm 0123456789ab)"
    assert title(attestation(task=None), VERDICT).startswith("41.2 on facts/capitals was reproduced")


def outside_code(text: str) -> str:
    """What is left of the rendered text when code is taken out of it."""
    html = MarkdownIt("commonmark", {"html": True}).render(text)
    return re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)


REASONS = ("12 of 200 answers (6 %) were cut off at max_tokens 512, from the farm's policy",)


def of_a_mismatch(**changes: Any) -> str:
    proposed = changes.pop("proposed", False)
    ran = Ran(circumstances(), changes.pop("spec_refusal", None))
    facts = {"reproduced": 0.2, "interval": {"low": 0.2, "high": 0.2}, **changes}
    return mismatch_body(attestation(**facts), ran, Mismatch(REASONS, ("b7e6a1",), True), VERDICT, proposed=proposed)


def test_a_mismatch_says_what_is_likely_first_and_how_to_repeat_and_to_ask_again() -> None:
    text = of_a_mismatch()
    assert (
        "did not reproduce the score `41.2` that `smol/one` claims on `facts/capitals`: it measured **20.00 %**" in text
    )
    assert f"The evaluation farm at <{attestation().iss}>" in text
    assert "on 150 of 150 samples; 41.20 % is claimed" in text
    order = [
        "revoked: `b7e6a1`",
        "1. 12 of 200 answers",
        "- claimed: 41.20 %",
        "How it ran:",
        "Evidence:",
        "inspect eval",
    ]
    assert sorted(order, key=text.index) == order
    assert "--limit" not in text, "Inspect would take the first samples, not those that were drawn"
    assert "The model's owner can comment `/reverify`, on a line of its own" in text
    assert f"<{attestation().iss}/claims/{VERDICT}>" in text
    assert text.endswith(body_mark(VERDICT))
    assert "verify-token" not in text
    assert title(attestation(), VERDICT, reproduced=False).startswith("41.2 on facts/capitals (capitals) was not rep")


def test_what_a_pull_request_claims_is_not_said_to_be_claimed_by_the_model() -> None:
    for text in (written(proposed=True), of_a_mismatch(proposed=True)):
        assert "the score `41.2` that this pull request claims for `smol/one` on `facts/capitals`" in text
        assert "`smol/one` claims" not in text
    assert "The model's owner or whoever opened this pull request can comment `/reverify`, on a line" in text


@pytest.mark.parametrize("refusal", ["tasks[1].scorers is empty", *HOSTILE])
def test_where_inspect_refuses_the_spec_that_is_said_in_place_of_a_command(refusal: str) -> None:
    text = of_a_mismatch(spec_refusal=refusal)
    assert "inspect eval" not in text
    assert "To repeat the run" not in text
    html = MarkdownIt("commonmark", {"html": True}).render(text)
    said = f"reads every task of the eval.yaml first, and refuses {clean(refusal, 100)}"
    assert f"{escape(said, quote=False)}</p>" in html


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["model", "dataset", "task"])
def test_hostile_names_stay_inside_code_where_nothing_was_reproduced(name: str, text: str) -> None:
    assert outside_code(of_a_mismatch(**{name: text})) == outside_code(of_a_mismatch(**{name: "x"}))


@given(text=st.text(alphabet="`ab \n@<>*_|[]()\\#-1.", max_size=30))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    html = MarkdownIt("commonmark").render(f"1. {plain(text)}!")
    assert not re.search(r"<(?!/?(ol|li|p)\b)", html)


def test_an_answer_quotes_nothing_that_acts() -> None:
    html = outside_code(answer_body("`a` <b>x</b>\n@everyone", "abc"))
    assert "everyone" not in html
    assert "<b>" not in html


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["model", "dataset", "task", "hardware", "versions", "judges", "engine_arguments"])
def test_hostile_text_stays_inside_code(name: str, text: str) -> None:
    value: Any = {name: text}
    if name in {"versions", "judges"}:
        value = {name: {text: text}}
    elif name == "engine_arguments":
        value = {name: (text, text)}
    harmless = written(
        **{
            key: {"x": "x"} if isinstance(v, dict) else ("x",) if isinstance(v, tuple) else "x"
            for key, v in value.items()
        }
    )
    assert outside_code(written(**value)) == outside_code(harmless)


@given(text=st.text(alphabet="`ab \n@<>*_|[]()\\", max_size=30))
def test_any_text_in_a_code_span_is_one_code_span(text: str) -> None:
    html = MarkdownIt("commonmark").render(f"a {code(text)} b")
    assert re.fullmatch(r"<p>a <code>[^<>]*</code> b</p>\n", html)


@pytest.mark.parametrize(
    "url", ["https://x/a>b", "https://x/a b", "javascript:alert(1)", "https://x/<b>", "https://x/`"]
)
def test_an_address_that_could_break_out_is_no_link(url: str) -> None:
    assert link(url).startswith("`")
