"""docs/security.md claims nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _tests_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in named if name not in _tests_in(PROJECT / file)]
    assert missing == []


def test_every_row_of_the_table_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert [row for row in rows if not NAMED.search(row)] == []


def test_every_mention_of_a_test_is_in_the_form_that_is_checked() -> None:
    assert PAGE.count("::test_") == len(NAMED.findall(PAGE))
