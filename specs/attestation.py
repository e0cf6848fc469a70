"""The signed statement that a claim was reproduced, and how anyone checks it with the public keys alone.

Format: a compact JWS (RFC 7515) signed with EdDSA over Ed25519 (RFC 8037), whose payload is a JWT claims set
(RFC 7519). Public keys are a JWK set (RFC 7517). It stands in the Hub's `verifyToken` field.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, ValidationError

from specs.contract import Contract
from specs.errors import TokenError
from specs.judging.scale import as_proportion
from specs.judging.verdict import Interval
from specs.measurement import CommitId, Proportion, Sha256
from specs.text import clean

ALGORITHM = "EdDSA"
"""The only one accepted: a token cannot choose a weaker one, nor `none`."""

TYPE = "reprofarm-attestation+jwt"
"""The `typ` header, so that no other JWT signed with the same key passes for a badge (RFC 8725, section 3.11)."""

MAX_TOKEN_CHARS = 16_384

# Without padding, as RFC 7515 has it, and the last character carries no bits that mean nothing: one token has one
# spelling.
_BASE64URL = r"(?=[^.])(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]|[A-Za-z0-9_-][AQgw])?"
_COMPACT_JWS = re.compile(rf"{_BASE64URL}\.{_BASE64URL}\.{_BASE64URL}")
# 32 bytes; the last character carries four bits.
_ED25519_X = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


class Attestation(Contract, extra="ignore"):
    """The facts of a badge. Scores are proportions.

    Whoever checks a badge may know fewer facts than its farm states: the others are passed over, as those of any JWT
    are (RFC 7519, section 4). A change after which the known ones no longer mean the same makes a new version.
    """

    iss: Annotated[str, Field(min_length=1)]
    """The farm, as a URL."""

    iat: Annotated[int, Field(ge=0)]
    """When it was signed: seconds since 1970, UTC."""

    jti: Annotated[str, Field(min_length=1)]
    """The badge's id, by which it can be revoked."""

    version: Literal[1] = 1
    model: str
    model_revision: CommitId
    dataset: str
    task: str | None
    dataset_revision: CommitId
    spec_sha256: Sha256
    claimed_value: Annotated[float, Field(allow_inf_nan=False)]
    """As it stands in the claim."""

    scale: Literal["fraction", "percent"]
    claimed: Proportion
    reproduced: Proportion
    standard_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    samples_used: Annotated[int, Field(ge=1)]
    population: Annotated[int, Field(ge=1)]
    tolerance: Annotated[float, Field(gt=0, le=1)]
    mode: Literal["full", "sequential"]
    """Whether all samples were to be run, or as many as make the answer sure."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    """The chance that the verdict differs from that of all samples, where not all were run."""

    interval: Interval
    """What all samples would score, but for those that failed; a point where all were run."""

    evidence_sha256: Sha256
    evidence_url: str
    policy_sha256: Sha256
    versions: dict[str, str]
    seed: int
    batch_invariant: bool = False
    """Whether the engine was told to use kernels whose sums do not depend on what else is in a batch. Not stated by
    the first badges, whose engines were not."""

    failed: Annotated[int, Field(ge=0)] = 0
    """Samples, of those up to where the run had its answer, that have no score and are left out of it: policy's
    `maximum_failed_fraction` bounds them, or they could not have brought it outside the tolerance. Not stated by the
    first badges."""


@dataclass(frozen=True)
class Expected:
    """What a reader wants a token to be about; None does not care."""

    model: str | None = None
    dataset: str | None = None
    task: str | None = None
    value: float | None = None


def verify(token: str, jwks: dict[str, object], expected: Expected | None = None) -> Attestation:
    """The facts of a token, once it is proven.

    1. The token is short enough, and a compact JWS in its one canonical spelling, whose header names EdDSA, this type
       and a key, and asks for no extension.
    2. That key is in `jwks`, once: an Ed25519 signature key.
    3. Its signature over the exact header and payload bytes is right.
    4. The payload is an attestation of a known version, and its own figures agree: the claimed proportion is the
       claimed value on its scale, and the score matched within the tolerance.
    5. It is about what `expected` asks for.

    Raises:
        TokenError: the first step that fails, in words. Nothing else, whatever `token` and `jwks` hold.
    """
    key_id = _key_id(token)
    key = _key(jwks, key_id)
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            # An attestation states what was found at a time; it does not expire, it is revoked.
            options={"require": ["iss", "iat", "jti"], "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidSignatureError as error:
        raise TokenError("the signature is not that of this token: it was altered, or signed by another key") from error
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise TokenError(f"not a token of this form: {_in_words(error)}") from error
    try:
        attestation = Attestation.model_validate(payload)
    except ValidationError as error:
        raise TokenError(f"signed, but not an attestation of version 1: {_in_words(error)}") from error
    _check_figures(attestation)
    _check_subject(attestation, expected or Expected())
    return attestation


def _key_id(token: str) -> str:
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError(f"longer than {MAX_TOKEN_CHARS} characters")
    if not _COMPACT_JWS.fullmatch(token):
        raise TokenError("not a compact JWS: three base64url parts with dots between them")
    try:
        # Of the header alone: PyJWT decodes all that it is given, and does so with all three parts further on.
        header: dict[str, object] = jwt.get_unverified_header(f"{token.partition('.')[0]}..")
    except jwt.InvalidTokenError as error:
        raise TokenError(f"not a compact JWS: {_in_words(error)}") from error
    if header.get("alg") != ALGORITHM:
        raise TokenError(f"signed with {_shown(header.get('alg'))}; only {ALGORITHM} counts")
    if header.get("typ") != TYPE:
        raise TokenError(f"a token of type {_shown(header.get('typ'))}, not {TYPE!r}")
    if "crit" in header or "b64" in header:
        raise TokenError("its header asks for an extension of JWS; attestations use none")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise TokenError("names no key")
    return key_id


def _key(jwks: dict[str, object], key_id: str) -> Ed25519PublicKey:
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    found = [
        key for key in (keys if isinstance(keys, list) else []) if isinstance(key, dict) and key.get("kid") == key_id
    ]
    if not found:
        raise TokenError(f"signed by key {_shown(key_id)}, which is not among the trusted keys")
    if len(found) > 1:
        raise TokenError(f"the trusted keys hold key {_shown(key_id)} more than once")
    key = found[0]
    if (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519") or key.get("use", "sig") != "sig":
        raise TokenError(f"key {_shown(key_id)} is not an Ed25519 signature key")
    x = key.get("x")
    if not isinstance(x, str) or not _ED25519_X.fullmatch(x):
        raise TokenError(f"key {_shown(key_id)} cannot be read: its x is not 32 bytes in base64url")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))


def _check_figures(attestation: Attestation) -> None:
    # 1e-12 absorbs what float arithmetic adds to an exact difference.
    proportion = as_proportion(attestation.claimed_value, attestation.scale)
    if proportion is None or abs(proportion - attestation.claimed) > 1e-12:
        raise TokenError(
            f"signed, but {attestation.claimed_value!r} as a {attestation.scale} is not its claimed proportion"
        )
    if attestation.samples_used + attestation.failed > attestation.population:
        raise TokenError("signed, but it used more samples than there are")
    if abs(attestation.reproduced - attestation.claimed) > attestation.tolerance + 1e-12:
        raise TokenError("signed, but its own figures do not match within its tolerance")
    low, high = attestation.interval.low, attestation.interval.high
    widest = max(attestation.claimed - low, high - attestation.claimed)
    if not low <= attestation.reproduced <= high or widest > attestation.tolerance + 1e-12:
        raise TokenError("signed, but its interval does not lie within its tolerance")


def _check_subject(attestation: Attestation, expected: Expected) -> None:
    for name, wanted, found in (
        ("model", expected.model, attestation.model),
        ("dataset", expected.dataset, attestation.dataset),
        ("task", expected.task, attestation.task),
        ("value", expected.value, attestation.claimed_value),
    ):
        if wanted is not None and wanted != found:
            raise TokenError(f"about another {name}: {_shown(found)}, not {_shown(wanted)}")


def _shown(value: object) -> str:
    return clean(repr(value), 120)


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return clean(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 300)
    return clean(str(error), 300)
