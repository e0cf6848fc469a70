from __future__ import annotations

from datetime import datetime
from xml.etree import ElementTree

import pytest

from scheduler.database.tables import VerdictRow
from specs.judging.verdict import Outcome, Verdict
from tests.support.api import RunningApi
from tests.support.rows import comparison

ATOM = "{http://www.w3.org/2005/Atom}"


def feed(api: RunningApi, path: str) -> ElementTree.Element:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/atom+xml")
    return ElementTree.fromstring(answer.content)  # noqa: S314 - our own


def said(element: ElementTree.Element, name: str) -> str:
    found = element.find(ATOM + name)
    assert found is not None, name
    return found.text or ""


@pytest.mark.parametrize(
    "path", ["/feeds/models/tiny/model.atom", "/feeds/benchmarks/acme/capitals.atom", "/feeds/namespaces/tiny.atom"]
)
def test_a_feed_is_atom_with_what_it_needs_and_ids_that_stay(api: RunningApi, path: str) -> None:
    api.rows.benchmark("acme/capitals")
    first = api.rows.verified("tiny/model")
    second = api.rows.decided(Outcome.FAILED, "tiny/model")
    api.rows.verified("tinyx/model", dataset_id="acme/rivers")
    api.rows.claim("tiny/model")
    root = feed(api, path)
    assert root.tag == ATOM + "feed"
    assert said(root, "id") == f"http://farm.test{path}"
    assert root.find(f"{ATOM}link[@rel='self']") is not None
    assert root.find(f"{ATOM}author/{ATOM}name") is not None
    entries = root.findall(ATOM + "entry")
    assert [said(entry, "id") for entry in entries] == [
        f"http://farm.test/claims/{claim_id}" for claim_id in (second, first)
    ]
    assert said(root, "updated") == said(entries[0], "updated")
    for entry in entries:
        assert datetime.fromisoformat(said(entry, "updated")).tzinfo is not None
        assert said(entry, "title").split(":")[0] in ("verified", "failed")
    assert api.get(path).headers["etag"] == api.get(path).headers["etag"]


def test_what_comes_from_outside_is_escaped_twice_because_summaries_are_html(api: RunningApi) -> None:
    claim_id = api.rows.decided(Outcome.FAILED, "tiny/model", task_id="<b>\x07task")
    verdict = Verdict(outcome=Outcome.FAILED, reason="<script>alert(1)</script>\x00\x1b[31m", comparison=None)
    with api.rows.database.transaction() as session:
        stored = verdict.model_dump(mode="json")
        stored["reason"] = stored["reason"].replace("\x00", "")
        session.get_one(VerdictRow, claim_id).verdict = stored
    (entry,) = feed(api, "/feeds/models/tiny/model.atom").findall(ATOM + "entry")
    assert said(entry, "summary") == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "<b>task" in said(entry, "title")


def test_what_is_no_character_breaks_no_feed(api: RunningApi) -> None:
    api.rows.decided(Outcome.FAILED, "tiny/model", task_id="the\ufffetask\uffff")
    (entry,) = feed(api, "/feeds/models/tiny/model.atom").findall(ATOM + "entry")
    assert said(entry, "title").endswith("task thetask")


def test_an_empty_feed_is_one_and_an_unknown_model_has_none(api: RunningApi) -> None:
    api.rows.claim("gpt2", dataset_id="squad")
    api.rows.benchmark("squad")
    assert said(feed(api, "/feeds/models/gpt2.atom"), "updated").startswith("1970-01-01")
    assert feed(api, "/feeds/benchmarks/squad.atom").findall(ATOM + "entry") == []
    # A model of another's, whose name begins like the namespace and goes on with the character that follows "/".
    api.rows.decided(Outcome.MISMATCH, "nobody0", comparison(0.2))
    assert feed(api, "/feeds/namespaces/nobody.atom").findall(ATOM + "entry") == []
    assert api.get("/feeds/models/no/such.atom").status_code == 404
    assert api.get("/feeds/benchmarks/none.atom").status_code == 404
