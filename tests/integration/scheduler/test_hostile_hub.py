"""A Hub that answers wrongly: what is asked of it ends, in words that say whose move it is."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.utils._http import hf_raise_for_status

from deploy.serving import QuietHandler, answered_by
from scheduler.hub import hub as hub_module
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing, told_apart
from specs.errors import HubAway, HubBusy, NoAccess, ReprofarmError
from specs.processes import bounded_answers
from specs.processes.hub_client_hooks import LONGEST_SECONDS
from tests.support.tls_server import answered_over_tls

COMMIT = "0123456789" * 4
MODEL = "org/model"
Headers = Mapping[str, str]
ANSWERS: Mapping[str, Callable[[Hub], object]] = {
    "benchmarks": lambda hub: hub.benchmarks(),
    "benchmark": lambda hub: hub.benchmark("bench/one"),
    "own_commits": lambda hub: hub.own_commits("bench/one"),
    "commits": lambda hub: hub.commits(MODEL, "refs/pr/1", 5000),
    "dataset_card": lambda hub: hub.dataset_card("bench/one", COMMIT),
    "model": lambda hub: hub.model(MODEL),
    "tree": lambda hub: hub.tree(MODEL, COMMIT),
    "pull_requests": lambda hub: hub.pull_requests(MODEL),
    "eval_results": lambda hub: hub.eval_results(MODEL),
    "still_open": lambda hub: hub.still_open(MODEL, ["refs/pr/1"]),
    "leaderboard": lambda hub: hub.leaderboard("bench/one", None),
    "read_file": lambda hub: hub.read_file("model", MODEL, COMMIT, "README.md", 1000),
    "own_name": lambda hub: hub.own_name(),
}
"""Everything that the control plane asks."""

TOO_MUCH = 100_000


class _Handler(QuietHandler):
    says: Callable[[str], tuple[int, bytes, Headers]]
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("authorization")))
        status, content, headers = type(self).says(self.path)
        kind = headers.get("content-type", "application/json")
        self.answer(status, content, kind, {name: value for name, value in headers.items() if name != "content-type"})


@contextmanager
def _hub(
    says: Callable[[str], tuple[int, bytes, Headers]], *, with_token: bool = True
) -> Iterator[tuple[Hub, list[tuple[str, str | None]]]]:
    seen: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Handler,), {"says": staticmethod(says), "seen": seen})
    with answered_by(handler) as url:
        yield Hub(url, "hf_secret" if with_token else None, 5.0), seen


def _always(content: bytes, status: int = 200, **headers: str) -> Callable[[str], tuple[int, bytes, Headers]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, content, named)


def _refusal(ask: Callable[[Hub], object], hub: Hub) -> str:
    """What the farm says instead of an answer; empty where it takes what came for one."""
    try:
        ask(hub)
    except ReprofarmError as error:
        return str(error)
    return ""


SHAPES = (
    b"",
    b"null",
    b"17",
    b'"text"',
    b"[17]",
    b"[[]]",
    b"[null]",
    b'{"id": 7, "sha": 7, "siblings": 7, "safetensors": 7, "cardData": 7, "discussions": 7, "count": "x"}',
    b'{"id": "bench/one", "sha": "main", "branches": [{"ref": 1}], "tags": {}, "discussions": [{"num": "x"}]}',
    b'[{"type": "file", "path": 7, "oid": "x", "size": "x"}]',
    b'[{"type": "file", "path": "../x", "oid": "x", "size": -1}]',
    b'[{"id": "../../x", "sha": "../../x"}]',
    b"[" * TOO_MUCH,
    b'{"a":' * TOO_MUCH,
    b"9" * TOO_MUCH,
    b"\xff\xfe\x00",
)


def test_answers_of_other_shapes_are_errors_of_ours() -> None:
    said = [b""]
    with _hub(lambda _: (200, said[0], {})) as (hub, _):
        for content in SHAPES:
            said[0] = content
            for ask in ANSWERS.values():
                assert len(_refusal(ask, hub)) < 1000


def test_a_token_that_ran_out_is_no_repo_that_is_gone() -> None:
    refused = _always(b'{"error": "Invalid username or password."}', 401, X_Error_Code="RepoNotFound")
    with _hub(refused) as (hub, _):
        for ask in ANSWERS.values():
            with pytest.raises(NoAccess):
                ask(hub)
    with _hub(refused, with_token=False) as (hub, _):
        for asked in ("model", "benchmark"):
            with pytest.raises(Gone):
                ANSWERS[asked](hub)


@pytest.mark.parametrize(("token", "meaning"), [("Bearer hf_secret", NoAccess), (None, Gone)])
def test_a_401_of_huggingface_co_is_about_the_token_where_one_was_shown(
    token: str | None, meaning: type[ReprofarmError]
) -> None:
    # huggingface_hub takes it for a repo that is not there, whatever was shown: by its address, which is of https.
    headers = {"authorization": token} if token is not None else {}
    asked = httpx2.Request("GET", "https://huggingface.co/api/models/org/model", headers=headers)
    answer = httpx2.Response(401, headers={"X-Error-Message": "Invalid username or password."}, request=asked)
    with pytest.raises(meaning), told_apart(MODEL):
        hf_raise_for_status(answer)


def test_a_404_of_what_stands_before_the_hub_is_no_repo_that_is_gone() -> None:
    with _hub(lambda _: (404, b"<h1>no such route</h1>", {"content-type": "text/html"})) as (hub, _):
        for ask in ANSWERS.values():
            with pytest.raises(HubAway):
                ask(hub)
    with _hub(_always(b'{"error": "not found"}', 404)) as (hub, _):
        for asked in ("model", "benchmark", "read_file", "leaderboard"):
            with pytest.raises(Missing) as caught:
                ANSWERS[asked](hub)
            assert not isinstance(caught.value, Gone), "claims are withdrawn at the Hub's own error code alone"


@pytest.mark.parametrize(
    ("revision", "headers", "is_taken"),
    [
        (COMMIT, {"x-repo-commit": COMMIT}, True),
        ("refs/pr/1", {"x-repo-commit": COMMIT}, True),
        (COMMIT, {"x-repo-commit": "f" * 40}, False),
        (COMMIT, {}, False),
        ("refs/pr/1", {}, False),
    ],
)
def test_a_page_that_stands_in_for_a_file_is_none(revision: str, headers: dict[str, str], *, is_taken: bool) -> None:
    with _hub(lambda _: (200, b"<h1>Back in a moment</h1>", headers)) as (hub, _):
        said = _refusal(lambda hub: hub.read_file("model", MODEL, revision, ".eval_results/x.yaml", 1000), hub)
    assert ("does not say that it is a file of the Hub" in said) is not is_taken


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "9" * 30}, {"RateLimit": '"api";r=0;t=999999999'}],
    ids=["Retry-After", "RateLimit"],
)
def test_nobody_sleeps_for_as_long_as_a_hub_says(headers: dict[str, str]) -> None:
    with _hub(_always(b"{}", 429, **headers)) as (hub, seen):
        for number, ask in enumerate(ANSWERS.values(), start=1):
            with pytest.raises(HubBusy) as caught:
                ask(hub)
            assert caught.value.retry_after_seconds == LONGEST_SECONDS
            assert len(seen) == number


@pytest.mark.parametrize("asked", ["benchmarks", "own_commits", "commits", "tree", "pull_requests"])
def test_a_list_without_end_ends(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_answers, "MAX_REQUESTS", 20)

    def says(path: str) -> tuple[int, bytes, Headers]:
        if path.endswith("/refs"):
            return 200, b'{"branches": [], "tags": [], "converts": []}', {}
        if "discussions" in path:
            return 200, b'{"discussions": [], "count": 1000000, "start": 0}', {}
        # A page of nothing that is counted, and a next one.
        content = b'[{"type": "directory", "path": "x", "oid": "x"}]' if "/tree/" in path else b"[]"
        return 200, content, {"link": f'<http://{host}{path}>; rel="next"'}

    with _hub(says) as (hub, seen):
        host = hub.endpoint.removeprefix("http://")
        with pytest.raises(HubAway, match="does not end"):
            ANSWERS[asked](hub)
        assert len(seen) == 20


def test_a_next_part_elsewhere_gets_no_token() -> None:
    with _hub(_always(b"[]")) as (_, elsewhere_seen), answered_by(_elsewhere(elsewhere_seen)) as elsewhere:
        with _hub(_always(b"[]", link=f'<{elsewhere}/more>; rel="next"')) as (hub, seen):
            hub.tree(MODEL, COMMIT)
        assert [token for _, token in seen] == ["Bearer hf_secret"]
        assert elsewhere_seen == [("/more", None)]


def _elsewhere(seen: list[tuple[str, str | None]]) -> type[_Handler]:
    return type("Elsewhere", (_Handler,), {"says": staticmethod(_always(b"[]")), "seen": seen})


def test_a_redirect_elsewhere_gets_no_token() -> None:
    seen: list[tuple[str, str | None]] = []
    with answered_by(_elsewhere(seen)) as elsewhere, _hub(_always(b"", 302, location=f"{elsewhere}/x")) as (hub, _):
        for ask in ANSWERS.values():
            assert "hf_secret" not in _refusal(ask, hub)
    assert len(seen) >= len(ANSWERS) - 1
    assert {token for _, token in seen} == {None}


def test_nobody_is_led_from_tls_to_what_is_not(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    with answered_by(_elsewhere(seen)) as elsewhere:
        leads = type("Leads", (_Handler,), {"says": staticmethod(_always(b"", 302, location=elsewhere)), "seen": []})
        with answered_over_tls(leads, tmp_path) as url:
            hub = Hub(url, "hf_secret", 5.0)
            for ask in ANSWERS.values():
                with pytest.raises(HubAway, match=r"leads to 127\.0\.0\.1 without TLS"):
                    ask(hub)
    assert seen == []


def test_what_is_packed_is_not_unpacked() -> None:
    with _hub(_always(gzip.compress(b" " * 50_000_000), content_encoding="gzip")) as (hub, _):
        for ask in ANSWERS.values():
            with pytest.raises(HubAway, match="packed"):
                ask(hub)


@pytest.mark.parametrize("asked", ["model", "tree", "leaderboard", "read_file"])
def test_an_answer_that_is_too_large_or_drips_is_given_up(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_BYTES", 1000)
    monkeypatch.setattr(hub_module, "MAX_LEADERBOARD_BYTES", 1000)
    with _hub(_always(json.dumps("x" * 5000).encode())) as (hub, _), pytest.raises(ReprofarmError, match="1000 bytes"):
        ANSWERS[asked](hub)
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(hub_module, "MAX_ANSWER_SECONDS", 0.2)
    over = threading.Event()
    with answered_by(_dripping(over)) as url, pytest.raises(HubAway, match="did not end within"):
        ANSWERS[asked](Hub(url, None, 5.0))
    over.set()


def _dripping(over: threading.Event) -> type[QuietHandler]:
    class Dripping(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "500")
            self.end_headers()
            while not over.is_set():
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.02)

    return Dripping


@pytest.mark.usefixtures("impatient_client")
def test_a_hub_that_takes_a_request_and_says_nothing_is_away() -> None:
    over = threading.Event()

    class Silent(QuietHandler):
        def do_GET(self) -> None:
            over.wait()

    with answered_by(Silent) as url:
        hub = Hub(url, "hf_secret", 0.05)
        try:
            for ask in ANSWERS.values():
                with pytest.raises(HubAway):
                    ask(hub)
        finally:
            over.set()
