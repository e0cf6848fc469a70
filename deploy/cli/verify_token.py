"""`reprofarm verify-token`: is a badge what it says it is? Of a farm it asks for public keys and revocations alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import jwt
import typer
from rich.text import Text

from deploy.cli import revocations as revocation_list
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, VarOfApi, api_in
from deploy.cli.public_files import is_url, read_json
from deploy.cli.terminal import MISMATCH, OK, console, pairs, percent, print_json, shown
from deploy.client import ApiError
from specs.attestation import MAX_TOKEN_CHARS, Attestation, Expected, verify
from specs.errors import TokenError

MAX_FACT_CHARS = 2000
MAX_VERSIONS = 40

STDIN = "-"
JWKS_PATH = "/.well-known/jwks.json"


def verify_token(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The verifyToken, or - to read it from standard input.")
    ],
    jwks: Annotated[
        str | None,
        typer.Option(help="The trusted public keys: a file, or a URL. Default: those of the farm at --api."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that the token must be about.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The benchmark that it must be about.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that it must be about.")] = None,
    value: Annotated[
        float | None, typer.Option(help="The score that it must be about, as the claim writes it.")
    ] = None,
    revocations: Annotated[
        list[str] | None,
        typer.Option(
            help="The farm's list of revocations: a URL, or a file, once for each of its parts, in order. Default: that"
            " of the farm whose keys are asked for, and none where --jwks is a file or another address."
        ),
    ] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """Check a badge: its signature, what it states, and whether it was revoked.

    A signature does not tell whether its badge was revoked later: a farm that is asked for its keys, by --api or by
    --jwks with their URL, is asked for its list of revocations too. With a file for --jwks nothing is asked of the
    network; name files with the farm's /v1/revocations to have that looked at as well.

    Exit codes: 0 valid, 1 not (with the reason), 3 the keys or the revocations cannot be had. With --json: {"valid",
    "reason", "attestation", "revocations_read"}: reason and attestation are null where there is none, and the last says
    whether a list of revocations was looked at, for which a token has to be valid otherwise.
    """
    farm = (api or api_in(var)).rstrip("/")
    keys_at = jwks or f"{farm}{JWKS_PATH}"
    places = revocations or _listed_beside(keys_at)
    keys = _keys(keys_at)
    text = token if token != STDIN else sys.stdin.read(MAX_TOKEN_CHARS + 1)
    attestation: Attestation | None = None
    was_read = False
    try:
        attestation = verify(text.strip(), keys, Expected(model, dataset, task, value))
        key_id = str(jwt.get_unverified_header(text.strip())["kid"])
        revoked = revocation_list.revocation_of(attestation.jti, key_id, places) if places else None
        was_read = bool(places)
        if revoked is not None:
            raise TokenError(revoked)
    except TokenError as error:
        if as_json:
            print_json(_as_json(str(error), attestation, was_read=was_read))
        else:
            console().print(Text("not valid: ", "red").append(shown(str(error), MAX_FACT_CHARS)), soft_wrap=True)
        raise typer.Exit(MISMATCH) from error
    if as_json:
        print_json(_as_json(None, attestation, was_read=was_read))
    else:
        _print_valid(attestation, jwks or farm, places)
    raise typer.Exit(OK)


def _listed_beside(keys: str) -> list[str]:
    """Where the farm lists revocations that has its public keys at a URL; nowhere for a file, or another address."""
    farm = keys.removesuffix(JWKS_PATH)
    return [farm + revocation_list.PATH] if is_url(keys) and farm != keys else []


def _as_json(reason: str | None, found: Attestation | None, *, was_read: bool) -> dict[str, object]:
    return {"valid": reason is None, "reason": reason, "attestation": found, "revocations_read": was_read}


def _print_valid(found: Attestation, keys_of: str, revocations: list[str]) -> None:
    # Whose keys these are is for the reader to know: whoever hands out keys can sign in any name.
    signer = f"signed by a key of {keys_of}, in the name of {_as_ascii(found.iss)}"
    console().print(Text("valid: ", "green").append(shown(signer, MAX_FACT_CHARS)), soft_wrap=True)
    console().print(pairs((name, shown(fact, MAX_FACT_CHARS)) for name, fact in _facts(found)))
    if revocations:
        console().print(pairs([("revoked", shown(f"no, by {', '.join(revocations)}", MAX_FACT_CHARS))]))
    else:
        console().print("  whether it was revoked since was not looked at: --revocations", style="dim")


def _facts(found: Attestation) -> Iterator[tuple[str, str]]:
    yield "model", f"{found.model} at {found.model_revision}"
    yield "benchmark", f"{found.dataset} at {found.dataset_revision}"
    yield "task", found.task or "its only one"
    yield "eval.yaml", f"SHA-256 {found.spec_sha256}"
    yield "claimed", f"{percent(found.claimed)} (written {found.claimed_value:g}, as a {found.scale})"
    error = "" if found.standard_error is None else f" ± {100 * found.standard_error:.2f} (standard error)"
    yield "reproduced", percent(found.reproduced) + error
    difference = 100 * abs(found.reproduced - found.claimed)
    yield "difference", f"{difference:.2f} points, tolerance {100 * found.tolerance:.2f} points"
    failed = f" ({found.failed} more failed and are left out)" if found.failed else ""
    yield "samples", f"{found.samples_used} of {found.population}{failed}, {found.mode}, seed {found.seed}"
    if found.interval.low < found.interval.high:
        bounds = f"{percent(found.interval.low)} to {percent(found.interval.high)}"
        yield "all samples", f"would score {bounds}, with alpha {found.alpha:g}"
    yield "evidence", found.evidence_url
    yield "", f"SHA-256 {found.evidence_sha256}"
    yield "policy", f"SHA-256 {found.policy_sha256}"
    versions = sorted(found.versions.items())[:MAX_VERSIONS]
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions)
    yield "signed", _time(found.iat)
    yield "badge", found.jti


def _as_ascii(url: str) -> str:
    """With letters of other scripts by their numbers: some look like those of another farm's name."""
    return url.encode("ascii", "backslashreplace").decode()


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def _keys(place: str) -> dict[str, object]:
    """The JWK set in a file or at a URL.

    Raises:
        ApiError: there is none.
    """
    keys = read_json(place, "public keys")
    if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list):
        raise ApiError(f"{place} is not a JWK set: there is no list of keys in it")
    return keys
