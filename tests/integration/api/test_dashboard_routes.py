"""What the dashboard's routes say of themselves, without a browser."""

from __future__ import annotations

import html

import pytest

from scheduler.dashboard import pages
from tests.support.api import RunningApi
from tests.support.databases import ON_BOTH, mostly_sqlite

PAGES = ("/", "/claims", "/benchmarks", "/workers", "/audit", "/verify")


databases = mostly_sqlite


@ON_BOTH
@pytest.mark.parametrize("path", PAGES)
def test_an_empty_farm_has_every_page_and_each_says_why_it_is_empty(shared_api: RunningApi, path: str) -> None:
    answer = shared_api.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "<style" not in answer.text
    assert "style=" not in answer.text
    assert "onclick" not in answer.text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [("/claims/abcdef", 404, "there is no claim abcdef"), ("/claims/xyz", 422, "path claim_id: not an id: "),
     ("/models/no/such", 404, ""), ("/benchmarks/no/such", 404, ""),
     ("/claims?state=odd", 422, "query state: must be 'submitted', 'planned',"),
     ("/claims?outcome=foo", 422, "query outcome: must be 'verified', 'mismatch',"),
     ("/audit?subject=odd", 422, "query subject: must be 'claim', "),
     (f"/claims?q={'x' * 101}", 422, "query q: "), ("/claims?cursor=odd", 400, ""), ("/audit?before=-1", 422, "")],
)  # fmt: skip
def test_what_is_wrong_is_said_on_a_page(shared_api: RunningApi, path: str, status: int, said: str) -> None:
    answer = shared_api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    text = html.unescape(answer.text)
    assert said in text
    assert "str-enum" not in text
    assert "must be ''" not in text
    assert ("One of the filters" in text) is (status == 422 and "?" in path)


@pytest.mark.parametrize("path", ["/claims?state=&outcome=&q=", "/audit?subject=", "/claims?outcome=verified"])
def test_an_empty_field_of_a_form_is_any(shared_api: RunningApi, path: str) -> None:
    assert shared_api.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/logs/assets/..%2f..%2findex.html", "/logs/assets/%2e%2e", "/logs/assets/../../../log/_bundle.py",
     f"/logs/{'0' * 64}.eval", "/logs/passwd.eval", "/static/..%2f..%2fpages.py", "/static/%2e%2e/pages.py",
     "/static/vendor/..%2f..%2f..%2frouter.py"],
)  # fmt: skip
def test_nothing_but_the_viewer_and_evidence_is_served(shared_api: RunningApi, path: str) -> None:
    assert shared_api.get(path).status_code in (404, 422)


def test_the_viewer_keeps_to_its_own_policy(shared_api: RunningApi) -> None:
    answer = shared_api.get("/logs/")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert shared_api.get("/logs/assets/index.js").headers["content-type"].startswith("text/javascript")
    assert shared_api.json("/logs/listing.json") == {}


def test_files_that_are_named_by_their_content_may_be_kept(shared_api: RunningApi) -> None:
    assert "immutable" in shared_api.get(pages.asset("styles/base.css")).headers["cache-control"]
    assert shared_api.get("/static/app.js").headers["cache-control"] == "no-cache"


def test_every_vendored_file_has_its_licence() -> None:
    vendor = pages.STATIC / "vendor"
    listed = [line.rpartition(": ")[2] for line in (vendor / "README.txt").read_text().splitlines() if ": " in line]
    assert sorted(listed) == sorted(f"licences/{file.name}" for file in (vendor / "licences").iterdir())
    assert len(listed) >= 8


def test_no_page_or_script_names_a_foreign_host() -> None:
    ours = [*(pages.FOLDER / "templates").iterdir(), *(file for file in pages.STATIC.rglob("*.*") if file.is_file())]
    ours = [file for file in ours if "vendor" not in file.parts]
    foreign = [
        f"{file.name}: {line.strip()}"
        for file in ours
        for line in file.read_text().splitlines()
        if "http" in line and "//" in line and "www.w3.org" not in line
    ]
    assert foreign == []
