"""The list of events is that of the code and of the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from scheduler.api.routes.events import Subject
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.events import KINDS
from specs.api_v1.webhooks import NewWebhook, WebhookFilter

PROJECT = Path(__file__).parents[3]


def recorded() -> Iterator[tuple[str, str]]:
    """Subject and what happened, of each call that adds an event and spells both out."""
    for file in (PROJECT / "scheduler").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "add_event":
                subject, what = node.args[2], node.args[4]
                if isinstance(subject, ast.Constant) and isinstance(what, ast.Constant):
                    yield str(subject.value), str(what.value)


def test_each_event_that_the_code_adds_is_listed() -> None:
    spelt = set(recorded())
    assert len(spelt) > 20
    states = {("claim", state.value) for state in ClaimState} | {("reproduction", s.value) for s in ReproductionState}
    assert spelt | states <= {(subject, what) for subject, whats in KINDS.items() for what in whats}
    assert set(get_args(Subject)) == set(KINDS)


def test_the_page_lists_each_event() -> None:
    page = (PROJECT / "docs" / "dashboard.md").read_text().partition("\n## Live events\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    listed = {subject: set(re.findall(r"`(\w+)`", text)) for subject, text in rows}
    assert {subject: listed.get(subject) for subject in KINDS} == {
        subject: set(each) for subject, each in KINDS.items()
    }


def test_a_webhook_is_for_events_that_there_are() -> None:
    url = "https://a.example/"
    assert NewWebhook.model_validate({"url": url, "filter": {"kinds": ["claim.decided", "worker.*"]}})
    with pytest.raises(ValidationError, match=r"perhaps claim\.decided is meant"):
        NewWebhook.model_validate({"url": url, "filter": {"kinds": ["claim.decide"]}})
    assert WebhookFilter(kinds=("claim.of_a_later_version",)), "what is stored is read"
