"""The signed statement that a claim was reproduced, and how anyone checks it with the public keys alone.

Format: a compact JWS (RFC 7515) signed with EdDSA over Ed25519 (RFC 8037), whose payload is a JWT claims set
(RFC 7519). Public keys are a JWK set (RFC 7517). It stands in the Hub's `verifyToken` field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import jwt
from pydantic import Field, ValidationError

from specs.errors import TokenError
from specs.measurement import CommitId, Proportion, Sha256
from specs.model import Contract

ALGORITHM = "EdDSA"
"""The only one accepted: a token cannot choose a weaker one, nor `none`."""

TYPE = "reprofarm-attestation+jwt"
"""The `typ` header, so that no other JWT signed with the same key passes for a badge (RFC 8725, section 3.11)."""

MAX_TOKEN_CHARS = 16_384


class Attestation(Contract):
    """The facts of a badge. Scores are proportions."""

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
    claimed_value: float
    """As it stands in the claim."""

    scale: Literal["fraction", "percent"]
    claimed: Proportion
    reproduced: Proportion
    standard_error: Annotated[float, Field(ge=0)] | None
    samples_used: Annotated[int, Field(ge=1)]
    population: Annotated[int, Field(ge=1)]
    tolerance: Annotated[float, Field(gt=0, le=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    evidence_sha256: Sha256
    evidence_url: str
    policy_sha256: Sha256
    versions: dict[str, str]
    seed: int


@dataclass(frozen=True)
class Expected:
    """What a reader wants a token to be about; None does not care."""

    model: str | None = None
    dataset: str | None = None
    task: str | None = None
    value: float | None = None


def verify(token: str, jwks: dict[str, object], expected: Expected | None = None) -> Attestation:
    """The facts of a token, once it is proven.

    1. The token is short enough, and a JWS whose header names EdDSA, this type and a key.
    2. That key is in `jwks`: an Ed25519 signature key.
    3. Its signature over the exact header and payload bytes is right.
    4. The payload is an attestation of a known version, and says itself that the score matched.
    5. It is about what `expected` asks for.

    Raises:
        TokenError: the first step that fails, in words.
    """
    header = _header(token)
    key = _key(jwks, str(header["kid"]))
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
    except jwt.InvalidTokenError as error:
        raise TokenError(f"not a token of this form: {error}") from error
    try:
        attestation = Attestation.model_validate(payload)
    except ValidationError as error:
        raise TokenError(f"signed, but not an attestation of version 1: {error}") from error
    if abs(attestation.reproduced - attestation.claimed) > attestation.tolerance + 1e-12:
        raise TokenError("signed, but its own figures do not match within its tolerance")
    _check_subject(attestation, expected or Expected())
    return attestation


def _header(token: str) -> dict[str, object]:
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError(f"longer than {MAX_TOKEN_CHARS} characters")
    try:
        header: dict[str, object] = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise TokenError(f"not a compact JWS: {error}") from error
    if header.get("alg") != ALGORITHM:
        raise TokenError(f"signed with {header.get('alg')!r}; only {ALGORITHM} counts")
    if header.get("typ") != TYPE:
        raise TokenError(f"a token of type {header.get('typ')!r}, not {TYPE!r}")
    if not isinstance(header.get("kid"), str):
        raise TokenError("names no key")
    return header


def _key(jwks: dict[str, object], key_id: str) -> jwt.PyJWK:
    keys = jwks.get("keys")
    for entry in keys if isinstance(keys, list) else []:
        if isinstance(entry, dict) and entry.get("kid") == key_id:
            if (entry.get("kty"), entry.get("crv")) != ("OKP", "Ed25519") or entry.get("use", "sig") != "sig":
                raise TokenError(f"key {key_id!r} is not an Ed25519 signature key")
            try:
                return jwt.PyJWK(entry, algorithm=ALGORITHM)
            except jwt.PyJWTError as error:
                raise TokenError(f"key {key_id!r} cannot be read: {error}") from error
    raise TokenError(f"signed by key {key_id!r}, which is not among the trusted keys")


def _check_subject(attestation: Attestation, expected: Expected) -> None:
    for name, wanted, found in (
        ("model", expected.model, attestation.model),
        ("dataset", expected.dataset, attestation.dataset),
        ("task", expected.task, attestation.task),
        ("value", expected.value, attestation.claimed_value),
    ):
        if wanted is not None and wanted != found:
            raise TokenError(f"about another {name}: {found!r}, not {wanted!r}")
