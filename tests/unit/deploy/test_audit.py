"""What is said of advisories about the pinned packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import audit
from deploy.audit import allowed_in, ask, main, read, verdict

PROJECT = Path(__file__).resolve().parents[3]
FOUND = {
    "dependencies": [
        {"name": "sound", "version": "1", "vulns": []},
        {
            "name": "broken",
            "version": "2",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.1"], "description": "…"}],
        },
        {"name": "unknown", "skip_reason": "Dependency not found"},
    ],
    "fixes": [],
}


def test_an_advisory_fails_and_names_what_fixes_it() -> None:
    lines, well = verdict(read(FOUND), {})
    assert not well
    assert lines[0] == "broken 2: PYSEC-1, CVE-2026-1; fixed in 2.1"
    assert lines[-1] == "audit: 1 advisories, 0 allowed, about 3 packages; of 1 of them nothing is known there"


def test_an_advisory_that_is_allowed_by_any_of_its_ids_passes() -> None:
    assert verdict(read(FOUND), {"CVE-2026-1": "nothing here calls it"})[1]


def test_an_allowance_that_nothing_needs_any_more_is_said() -> None:
    lines, _ = verdict(read(FOUND), {"CVE-2020-1": "old"})
    assert "CVE-2020-1 is allowed in pyproject.toml and found no more" in lines


def test_an_answer_about_nothing_is_not_taken_for_nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"stdout": '{"dependencies": [{"name": "a", "skip_reason": "not found"}], "fixes": []}'}
    monkeypatch.setattr("deploy.audit.subprocess.run", lambda *_, **__: type("Ended", (), answers))
    assert ask(Path("one.txt"), "pypi") is None
    answers["stdout"] = "Traceback"
    assert ask(Path("one.txt"), "osv") is None


def test_services_that_are_away_are_said_in_one_line_and_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "ask", lambda *_: None)
    monkeypatch.setattr(audit, "ASKED_AGAIN_SECONDS", 0.0)
    assert main(PROJECT) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_every_allowance_has_a_reason() -> None:
    assert all(len(why) > 20 for why in allowed_in(PROJECT).values())
