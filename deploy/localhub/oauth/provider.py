"""Codes, tokens and the signed statement of who signed in (OpenID Connect Core 1.0, section 3.1)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.localhub.errors import BadRequestError, UnauthorizedError
from deploy.localhub.oauth.members import Members, OrgRole
from deploy.localhub.tokens import TokenFile
from specs.processes.atomic_write import write_atomically

CODE_SECONDS = 60
TOKEN_SECONDS = 3600
KEY_BITS = 2048
MAX_KEPT = 10_000


@dataclass(frozen=True)
class Asked:
    """What an application asked for, and its user allowed."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    """SHA-256 of the application's code verifier, in base64url (RFC 7636, `S256`)."""

    nonce: str | None


@dataclass(frozen=True)
class _Granted:
    user: str
    asked: Asked
    until: float


@dataclass
class Grants:
    """Codes and access tokens of this process; who restarts the Hub signs in again."""

    _codes: dict[str, _Granted] = field(default_factory=dict)
    _tokens: dict[str, _Granted] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, user: str, asked: Asked) -> str:
        """A code with which the application learns who the user is, once and within a minute."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            _forget_old(self._codes)
            self._codes[code] = _Granted(user, asked, time.monotonic() + CODE_SECONDS)
        return code

    def redeem(self, code: str, client_id: str, redirect_uri: str, code_verifier: str) -> tuple[str, str, str | None]:
        """The access token that a code is worth, its user, and the nonce that the application sent along.

        Raises:
            BadRequestError: the code was used, is too old, or of another application, address or verifier.
        """
        with self._lock:
            granted = self._codes.pop(code, None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
            if (
                granted is None
                or granted.until < time.monotonic()
                or granted.asked.client_id != client_id
                or granted.asked.redirect_uri != redirect_uri
                or not secrets.compare_digest(granted.asked.code_challenge, challenge)
            ):
                raise BadRequestError("invalid_grant")
            token = f"hf_oauth_{secrets.token_urlsafe(32)}"
            _forget_old(self._tokens)
            self._tokens[token] = _Granted(granted.user, granted.asked, time.monotonic() + TOKEN_SECONDS)
        return token, granted.user, granted.asked.nonce

    def user_of(self, token: str) -> str:
        """Whose access token this is.

        Raises:
            UnauthorizedError: nobody's, or no longer.
        """
        with self._lock:
            granted = self._tokens.get(token)
        if granted is None or granted.until < time.monotonic():
            raise UnauthorizedError("Invalid access token")
        return granted.user


def _forget_old(kept: dict[str, _Granted]) -> None:
    at = time.monotonic()
    for key in [key for key, granted in kept.items() if granted.until < at]:
        del kept[key]
    while len(kept) >= MAX_KEPT:
        # The oldest: dicts keep the order of insertion.
        del kept[next(iter(kept))]


class SigningKey:
    """The RSA key of a folder, made when it is first needed. It signs id tokens with RS256, as huggingface.co does."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()

    def sign(self, claims: dict[str, Any]) -> str:
        """A compact JWS of the claims."""
        key = self._load()
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": _thumbprint(key)})

    def jwks(self) -> dict[str, Any]:
        """The public half, as a JWK set."""
        key = self._load()
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": _thumbprint(key), "use": "sig", "alg": "RS256"}]}

    def _load(self) -> rsa.RSAPrivateKey:
        with self._lock:
            if not self._path.is_file():
                made = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
                pem = made.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                write_atomically(self._path, pem, mode=0o600)
            key = serialization.load_pem_private_key(self._path.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self._path.name} holds no RSA key")
        return key


def _thumbprint(key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def subject_of(name: str) -> str:
    """The id of a user or an organisation."""
    return hashlib.sha256(f"account:{name}".encode()).hexdigest()[:24]


def userinfo(user: str, endpoint: str, tokens: TokenFile, members: Members) -> dict[str, Any]:
    """What an application learns of a user; the fields of huggingface.co that the local Hub has something for."""
    by_token: dict[str, OrgRole] = {
        org: "write" for record in tokens.records() if record.user == user for org in record.orgs
    }
    roles = {**by_token, **members.roles_of(user)}
    return {
        "sub": subject_of(user),
        "name": user,
        "preferred_username": user,
        "profile": f"{endpoint}/{user}",
        "isPro": False,
        "orgs": [
            {
                "sub": subject_of(org),
                "name": org,
                "preferred_username": org,
                "isEnterprise": False,
                "roleInOrg": role,
            }
            for org, role in sorted(roles.items())
        ],
    }
