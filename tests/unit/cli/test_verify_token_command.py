from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
import typer
from typer.testing import CliRunner, Result

from deploy.cli.verify_token import verify_token
from deploy.client import ApiError
from deploy.serving import QuietHandler, answered_by
from tests.support.attestations import attestation, jwks, signer

app = typer.Typer()
app.command()(verify_token)
runner = CliRunner()

FARM = signer()
TOKEN = FARM.sign(attestation())


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks(FARM)))
    return str(path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return runner.invoke(app, list(arguments), input=stdin)


def revocations(*badges: str, following: str | None = None, keys: tuple[str, ...] = ()) -> bytes:
    items = [
        {
            "badge_id": badge,
            "claim_id": "c",
            "revoked_at": "2026-03-01T12:00:00Z",
            "reason": "the log was \x1b[2Jmade up",
        }
        for badge in badges
    ]
    return json.dumps({"items": items, "next": following, "revoked_keys": keys}).encode()


@contextmanager
def answering(keys: bytes, status: int = 200, parts: tuple[list[str], ...] = ([],)) -> Iterator[str]:
    """A farm with these public keys, and with these badges in the parts of its list of revocations."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = keys if path == "/.well-known/jwks.json" else part(query) if path == "/v1/revocations" else b""
            self.answer(status if body else 404, body)

    def part(query: str) -> bytes:
        number = int(urllib.parse.parse_qs(query).get("cursor", ["0"])[0])
        return revocations(*parts[number], following=str(number + 1) if number + 1 < len(parts) else None)

    with answered_by(Handler) as url:
        yield url


def test_a_valid_token_shows_its_facts_offline(keys: str) -> None:
    result = run(TOKEN, "--jwks", keys)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"valid: signed by a key of {keys}, in the name of https://farm.example")
    for fact in (
        "smol/one at aaaa",
        "41.20 % (written 41.2, as a percent)",
        "40.00 % ± 2.00",
        "150 of 150",
        "vllm 0.32.0",
    ):
        assert fact in result.stdout


def test_a_name_that_looks_like_another_farms_is_seen_through(tmp_path: Path) -> None:
    another = signer()
    (tmp_path / "keys.json").write_text(json.dumps(jwks(another)))
    token = another.sign(attestation(iss="https://f\u0430rm.example"))
    result = run(token, "--jwks", str(tmp_path / "keys.json"))
    assert "in the name of https://f\\u0430rm.example" in result.stdout


def test_a_token_may_come_from_standard_input(keys: str) -> None:
    assert run("-", "--jwks", keys, stdin=f"{TOKEN}\n").exit_code == 0


def test_the_claim_that_the_token_must_be_about_is_checked(keys: str) -> None:
    about = ["--model", "smol/one", "--dataset", "facts/capitals", "--task", "capitals", "--value", "41.2"]
    assert run(TOKEN, "--jwks", keys, *about).exit_code == 0
    result = run(TOKEN, "--jwks", keys, *about[:-1], "42")
    assert result.exit_code == 1
    assert result.stdout == "not valid: about another value: 41.2, not 42.0\n"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (TOKEN[:-3] + "AAA", "not valid: "),
        (signer().sign(attestation()), "not among the trusted keys"),
        ("", "not a compact JWS"),
    ],
)
def test_a_token_that_proves_nothing_exits_with_1_and_the_reason(keys: str, token: str, reason: str) -> None:
    result = run("-", "--jwks", keys, stdin=token)
    assert result.exit_code == 1
    assert reason in result.stdout


def test_json_says_the_same_for_scripts(keys: str) -> None:
    good = json.loads(run(TOKEN, "--jwks", keys, "--json").stdout)
    assert good == {
        "valid": True,
        "reason": None,
        "attestation": attestation().model_dump(mode="json"),
        "revocations_read": False,
    }
    bad = json.loads(run("a.b.c", "--jwks", keys, "--json").stdout)
    assert (bad["valid"], bad["attestation"], bad["revocations_read"]) == (False, None, False)
    assert "compact JWS" in bad["reason"]


def test_text_in_a_token_cannot_act_on_the_terminal(keys: str) -> None:
    hostile = attestation(model="smol/\x1b[31mone\u202e[bold]", versions={"vllm\n": "1\x07"}, task="[red]x[/red]")
    result = run(FARM.sign(hostile), "--jwks", keys)
    assert result.exit_code == 0
    assert not {"\x1b", "\u202e", "\x07"} & set(result.stdout)
    assert "smol/one[bold]" in result.stdout
    assert "[red]x[/red]" in result.stdout


def test_the_keys_can_be_those_of_a_farm() -> None:
    with answering(json.dumps(jwks(FARM)).encode()) as farm:
        assert run(TOKEN, "--jwks", f"{farm}/.well-known/jwks.json").exit_code == 0
        assert run(TOKEN, "--api", farm).exit_code == 0


def test_a_revoked_badge_is_not_valid_however_good_its_signature(tmp_path: Path, keys: str) -> None:
    listed = tmp_path / "revocations.json"
    listed.write_bytes(revocations("another", attestation().jti))
    result = run(TOKEN, "--jwks", keys, "--revocations", str(listed))
    assert result.exit_code == 1
    assert result.stdout == "not valid: revoked at 2026-03-01 12:00 UTC: the log was made up\n"
    told = json.loads(run(TOKEN, "--jwks", keys, "--revocations", str(listed), "--json").stdout)
    assert (told["valid"], told["attestation"]["jti"], told["revocations_read"]) == (False, attestation().jti, True)
    listed.write_bytes(revocations("another"))
    assert run(TOKEN, "--jwks", keys, "--revocations", str(listed)).exit_code == 0


def test_what_a_stolen_key_signed_is_not_valid_though_no_list_has_the_badge(tmp_path: Path, keys: str) -> None:
    listed = tmp_path / "revocations.json"
    key_id = str(jwt.get_unverified_header(TOKEN)["kid"])
    listed.write_bytes(revocations("another", keys=(key_id,)))
    result = run(TOKEN, "--jwks", keys, "--revocations", str(listed))
    assert (result.exit_code, result.stdout) == (1, f"not valid: signed by the key {key_id}, which is revoked\n")


# The second stands in comments on the Hub.
@pytest.mark.parametrize("asked", [("--api", ""), ("--jwks", "/.well-known/jwks.json")], ids=["api", "jwks"])
def test_the_list_of_a_farm_that_is_asked_for_its_keys_is_read_to_its_end(asked: tuple[str, str]) -> None:
    farm_keys = json.dumps(jwks(FARM)).encode()
    option, path = asked
    with answering(farm_keys, parts=(["a"], ["b"], [attestation().jti])) as farm:
        assert run(TOKEN, option, farm + path).exit_code == 1
    with answering(farm_keys, parts=(["a"], ["b"])) as farm:
        told = json.loads(run(TOKEN, option, farm + path, "--json").stdout)
        assert (told["valid"], told["revocations_read"]) == (True, True)


def test_of_keys_at_another_address_no_list_is_guessed(tmp_path: Path) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(200 if self.path == "/keys.json" else 404, json.dumps(jwks(FARM)).encode())

    with answered_by(Handler) as elsewhere:
        said = run(TOKEN, "--jwks", f"{elsewhere}/keys.json")
    assert (said.exit_code, "was not looked at" in said.stdout) == (0, True)
    # As the farm has them, but saved: nobody is asked.
    saved = tmp_path / ".well-known" / "jwks.json"
    saved.parent.mkdir()
    saved.write_text(json.dumps(jwks(FARM)))
    assert "was not looked at" in run(TOKEN, "--jwks", str(saved)).stdout


def test_a_list_in_files_is_read_to_its_end(tmp_path: Path, keys: str) -> None:
    parts = [tmp_path / name for name in ("1.json", "2.json", "3.json")]
    for part, badge in zip(parts, ("a", "b", attestation().jti), strict=True):
        part.write_bytes(revocations(badge, following=None if part is parts[-1] else "x"))
    named = [word for part in parts for word in ("--revocations", str(part))]
    assert run(TOKEN, "--jwks", keys, *named).exit_code == 1
    parts[-1].write_bytes(revocations("c"))
    assert run(TOKEN, "--jwks", keys, *named).exit_code == 0
    # The last one is not there: the badge may be in it.
    assert isinstance(run(TOKEN, "--jwks", keys, *named[:4]).exception, ApiError)


def test_a_list_that_cannot_be_had_or_is_not_whole_is_an_error_and_not_a_verdict(tmp_path: Path, keys: str) -> None:
    listed = tmp_path / "revocations.json"
    for content, reason in (
        (revocations("a", following="x"), "more follow"),
        (b"[]", "not a list of revocations"),
        (b"no", "not JSON"),
    ):
        listed.write_bytes(content)
        result = run(TOKEN, "--jwks", keys, "--revocations", str(listed))
        assert isinstance(result.exception, ApiError)
        assert reason in str(result.exception)


def test_without_a_list_it_says_that_none_was_looked_at(keys: str) -> None:
    assert "was not looked at" in run(TOKEN, "--jwks", keys).stdout


def test_with_a_list_it_says_that_the_badge_is_not_on_it(keys: str, tmp_path: Path) -> None:
    listed = tmp_path / "revocations.json"
    listed.write_bytes(revocations("another"))
    said = run(TOKEN, "--jwks", keys, "--revocations", str(listed)).stdout
    # However it is wrapped at that width.
    assert f"no,by{listed}" in "".join(said.split())


def test_keys_that_cannot_be_had_are_an_error_and_not_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("keys")
    for place, reason in (("none.json", "No such file"), ("list.json", "not a JWK set"), ("text.json", "not JSON")):
        result = run(TOKEN, "--jwks", str(tmp_path / place))
        assert isinstance(result.exception, ApiError)
        assert reason in str(result.exception)
    with answering(b"no", status=503) as farm:
        assert "answers 503" in str(run(TOKEN, "--api", farm).exception)
    with answering(b" " * (1024 * 1024 + 1)) as farm:
        assert "longer than" in str(run(TOKEN, "--api", farm).exception)
    assert "cannot be had" in str(run(TOKEN, "--api", farm).exception)
