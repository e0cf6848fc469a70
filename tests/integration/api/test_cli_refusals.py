"""What the commands say where it cannot be: in a sentence, with whoever must act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.client import ApiError, FarmClient
from deploy.serving import QuietHandler, answered_by
from specs.api_v1.views import NO_TYPE, Problem
from tests.support.api import RunningApi, running_api
from tests.support.callers import Headers, expired_token, revoked_token, token
from workers.processes.ports import free_port

ID = "0123456789abcdef"
BOX = ("Usage:", "Traceback", "pydantic", "Value error", "pattern")


def said(*arguments: str, **environment: str) -> str:
    """What a command that fails says, which is one sentence."""
    given = {"COLUMNS": "200", "REPROFARM_TOKEN": "", "REPROFARM_API": "", **environment}
    result = CliRunner().invoke(app, arguments, env={name: value or None for name, value in given.items()})
    assert result.exit_code == 3, result.output
    assert result.stderr.startswith("error: ")
    assert not [words for words in BOX if words in result.stderr]
    assert len(result.stderr.splitlines()) == 1
    return result.stderr.removeprefix("error: ").strip()


@contextmanager
def answering(status: int, content: bytes, **headers: str) -> Iterator[str]:
    """Something that answers everything so; yields its address."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(status, content, headers=headers)

    with answered_by(Handler) as url:
        yield url


def holding(headers: Headers) -> str:
    return headers["authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize("typed", ["abc", "ABCDEF12", "../verdicts", "abcdef?x=1", "%2e%2e", "0" * 33, ""])
@pytest.mark.parametrize(
    ("command", "listed"),
    [
        ("plan", "`reprofarm claims` lists them"),
        ("policy explain", "`reprofarm claims` lists them"),
        ("reverify --why x", "`reprofarm claims` lists them"),
        ("approve", "`reprofarm claims` lists them"),
        ("revoke --why x", "`reprofarm claims` lists them"),
        ("show", "`reprofarm claims` and `reprofarm reproductions` list them"),
        ("logs", "`reprofarm claims` and `reprofarm reproductions` list them"),
        ("cancel --why x", "`reprofarm claims` and `reprofarm reproductions` list them"),
        ("retry", "`reprofarm claims` and `reprofarm reproductions` list them"),
    ],
)
def test_what_is_no_id_is_asked_of_nobody_and_the_message_says_what_lists_ids(
    typed: str, command: str, listed: str
) -> None:
    assert said(*command.split(), typed, REPROFARM_API="http://127.0.0.1:1") == (
        f"{typed!r} is no id: those are 32 of the characters 0-9 and a-f, of which the first 6 or more do; {listed}"
    )


@pytest.mark.parametrize("typed", ["", "  ", "\x1b[2K", "x" * 1001])
@pytest.mark.parametrize(
    "command", ["cancel", "retry", "reverify", "approve", "revoke", "verify tiny/model acme/bench", "keys revoke"]
)
def test_what_is_no_reason_is_asked_of_nobody(typed: str, command: str) -> None:
    name, *named = command.split()
    target = named if name == "verify" else [*named, ID]
    assert said(name, *target, "--why", typed, REPROFARM_API="http://127.0.0.1:1") == (
        "--why says why, in up to 1000 characters that can be seen: it stands in the record"
    )


def test_for_a_model_the_message_says_how_to_list_its_claims() -> None:
    assert said("show", "tiny/model").endswith("`reprofarm claims --model tiny/model` lists those of that model")


def test_what_is_no_id_leads_the_client_to_no_other_address(api: RunningApi) -> None:
    api.rows.verified()
    with FarmClient(api.url) as farm, pytest.raises(ApiError, match="has nothing at"):
        farm.claim("../verdicts")


def test_what_is_not_there_is_named_as_whatever_it_could_have_been(api: RunningApi) -> None:
    token_of = holding(token(api, "ops", "operate"))
    rejected = api.rows.claim()

    def over_api(*arguments: str) -> str:
        return said(*arguments, "--api", api.url, REPROFARM_TOKEN=token_of)

    for command in ("cancel", "retry"):
        assert over_api(command, ID, "--why", "x") == f"there is no claim and no reproduction {ID}"
    for command in ("show", "logs"):
        assert over_api(command, ID) == f"there is no claim and no reproduction {ID}"
    for target in (ID, rejected):
        no_badge = f"no badge, and no claim with a badge, has an id like {target}"
        assert over_api("revoke", target, "--why", "x") == no_badge


def test_who_shows_no_token_or_a_wrong_one_is_told_where_it_goes_and_who_gives_it(api: RunningApi) -> None:
    claim = api.rows.verified()
    asks = ("reverify", claim, "--why", "x", "--api", api.url)
    none = said(*asks)
    assert (
        "maintainers have it who sign in with the Hub (/auth/login), and tokens that the farm's operator gives" in none
    )
    assert none.endswith("a token goes into REPROFARM_TOKEN")
    lost = {
        "nonsense": "this is no token of the farm",
        holding(expired_token(api, "old")): "the token old expired on",
        holding(revoked_token(api, "gone")): "the token gone was revoked on",
    }
    for secret, words in lost.items():
        found = said(*asks, REPROFARM_TOKEN=secret)
        assert found.startswith(words)
        assert found.endswith("REPROFARM_TOKEN holds it, and the farm's operator gives out another")
        assert secret not in found
    reads = said(*asks, REPROFARM_TOKEN=holding(token(api, "reader")))
    assert "your token reader has read" in reads
    others = said(*asks, REPROFARM_TOKEN=holding(token(api, "other", "request", ("other",))))
    assert "an administrator of it on the Hub can do it, or the farm's operator" in others


def test_a_farm_that_is_not_public_says_who_gives_tokens_that_read(tmp_path: Path) -> None:
    with running_api(tmp_path, public_reading=False) as api:
        assert "the farm's operator gives out tokens that read" in said("claims", "--api", api.url)


def test_a_name_that_the_hub_cannot_have_is_refused_in_our_own_words() -> None:
    found = said("verify", "gpt-oss", "acme/capitals", REPROFARM_API="http://127.0.0.1:1")
    assert found == "model: an id of the Hub: namespace/name"


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1:8000", "farm", "http://"])
def test_an_address_that_is_none_is_shown_beside_one(url: str) -> None:
    found = said("claims", "--api", url)
    assert "is not the URL of a farm, as http://127.0.0.1:8000 or https://farm.example is" in found
    assert found.endswith("name one with --api or REPROFARM_API")


def test_where_no_farm_answers_the_message_says_how_to_start_one() -> None:
    found = said("show", ID, "--api", f"http://127.0.0.1:{free_port()}")
    assert "Start one with `reprofarm up`, name the folder of one that runs with --var or REPROFARM_VAR" in found
    assert found.endswith("or another with --api or REPROFARM_API")


@pytest.mark.parametrize("path", ["/v1", "/claims"])
def test_an_address_with_too_much_of_a_path_is_told_from_a_thing_that_is_missing(api: RunningApi, path: str) -> None:
    secret = holding(token(api, "ops", "operate"))
    for command in (("show", ID), ("cancel", ID, "--why", "x"), ("revoke", ID, "--why", "x")):
        found = said(*command, "--api", api.url + path, REPROFARM_TOKEN=secret)
        assert "too much stands behind the host" in found
        assert "a version that is older than this command" in found


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (200, b"<html>", "not as a farm does. Name one with --api or REPROFARM_API"),
        (404, b'{"detail":"Not Found"}', "not as a farm does. Name one with --api or REPROFARM_API"),
        (301, b"", "not as a farm does. Name one with --api or REPROFARM_API"),
        (502, b"<html>", "a farm may be up and the farm down, which its operator can see"),
        (200, b'{"items": [{"id": "1"}]}', "Update the older of the two: the farm's operator the farm, or you this"),
    ],
)
def test_what_is_no_farm_or_another_version_is_told_from_a_farm(status: int, content: bytes, words: str) -> None:
    with answering(status, content) as url:
        found = said("claims", "--api", url)
    assert url in found
    assert words in found


def test_an_address_that_sends_on_is_named() -> None:
    with answering(308, b"", location="https://farm.example/") as url:
        assert "it sends on to https://farm.example/. Name the farm itself" in said("claims", "--api", url)


@pytest.mark.parametrize(
    ("status", "kind", "is_the_operators"),
    [
        (500, NO_TYPE, True),
        (503, "urn:problem-type:reprofarm:database-away", True),
        (503, "urn:problem-type:reprofarm:too-many-plans", False),
        (502, "urn:problem-type:reprofarm:evidence-away", False),
    ],
)
def test_what_passes_by_itself_is_not_said_to_be_the_operators(status: int, kind: str, is_the_operators: bool) -> None:
    problem = Problem(type=kind, title="x", status=status, detail="come back")
    with answering(status, problem.model_dump_json().encode()) as url:
        mends = "; that is for the farm's operator to mend"
        assert said("plan", ID, "--api", url) == "come back" + mends * is_the_operators


def test_a_farm_without_its_database_is_its_operators_to_mend(tmp_path: Path) -> None:
    with running_api(tmp_path, migrated=False) as api:
        assert said("claims", "--api", api.url).endswith("that is for the farm's operator to mend")
