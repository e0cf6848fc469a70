"""That the benches measure what they say, in sizes that say nothing of how fast anything is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from deploy.bench import __main__ as bench
from deploy.bench.growth import Step
from deploy.bench.page import put_into
from deploy.bench.plain_run import PlainOrder, client_arguments
from deploy.bench.poll import poll_cost
from deploy.bench.report import of_growth, of_poll, of_verdicts, table
from deploy.bench.verdict_rate import pace

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


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


def test_what_grew_by_more_than_noise_is_not_called_flat() -> None:
    took = {1000: (2.0, 100.0, 100.0), 2000: (6.0, 149.0, 151.0)}
    found = of_growth({size: [Step("a step", each) for each in steps] for size, steps in took.items()})
    assert [line.met for line in found] == [True, True, False]


def test_vllms_client_takes_the_arguments_that_it_is_held_beside_the_farm_with(tmp_path: Path) -> None:
    serve = pytest.importorskip("vllm.benchmarks.serve", reason="the engine is not installed")
    parser = pytest.importorskip(
        "vllm.utils.argparse_utils", reason="the engine is not installed"
    ).FlexibleArgumentParser()
    serve.add_cli_args(parser)
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    given: dict[str, Any] = {field.name: "a name" for field in fields(PlainOrder)}
    order = PlainOrder(**{**given, "rules": {}, "max_tokens": 96, "questions": str(questions)})
    taken = parser.parse_args(client_arguments(order, "http://127.0.0.1:8000/v1", 32))
    assert (taken.base_url, taken.endpoint) == ("http://127.0.0.1:8000", "/v1/chat/completions")
    assert (taken.num_prompts, taken.max_concurrency, taken.custom_output_len) == (2, 32, 96)


def test_figures_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- one: written by command -->\nold\n<!-- end of one -->\nafter\n")
    put_into(page, "one", "new\n")
    assert page.read_text() == "before\n<!-- one: written by command -->\n\nnew\n\n<!-- end of one -->\nafter\n"
    with pytest.raises(ValueError, match="no place for two"):
        put_into(page, "two", "new")


def test_a_run_of_some_parts_writes_their_tables_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "".join(f"<!-- {part}: written by command -->\nold\n<!-- end of {part} -->\n" for part in bench.PARTS)
    )
    before = page.read_text()
    asked = ["--parts", "poll", "--page", str(page)]
    bench.main([*asked, "--small"])
    assert page.read_text() == before
    monkeypatch.setattr(bench, "WHOLE", bench.SMALL)
    bench.main(asked)
    for part in bench.PARTS:
        assert (table_of(part, page) == "old") == (part != "poll")
    assert "nothing changed" in table_of("poll", page)
    if (PAGE.parents[1] / ".git").exists():
        assert re.search(r", commit [0-9a-f]{7,40}; took \d+ s\.\n", table_of("poll", page))


@pytest.mark.parametrize("part", bench.PARTS)
def test_the_page_has_a_place_for_each_part(part: str) -> None:
    assert "; took " in table_of(part, PAGE)


def table_of(part: str, page: Path) -> str:
    _, _, rest = page.read_text().partition(f"<!-- {part}: written by command -->")
    found, ended, _ = rest.partition(f"<!-- end of {part} -->")
    assert ended
    return found.strip()
