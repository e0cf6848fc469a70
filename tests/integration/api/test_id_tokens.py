"""What a farm believes of a provider: each step of scheduler/access/openid.py, and what fails it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.serving import QuietHandler, answered_by
from scheduler.access.openid import Pending, Provider
from scheduler.settings import Settings
from specs.errors import HubAway, SignInError

CLIENT = "the-farm"
PENDING = Pending(state="s" * 43, nonce="n" * 43, code_verifier="v" * 43)
KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@dataclass
class SaidByProvider:
    """What a provider answers, to be changed by a test."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "u1", "preferred_username": "alice", "orgs": []})
    metadata: dict[str, Any] = field(default_factory=dict)
    id_token: str | None = None
    """Instead of one made of `claims`."""

    token_status: int = 200
    raw: tuple[str, bytes] | None = None
    """A path, and what is answered there instead."""

    def token(self, key: rsa.RSAPrivateKey = KEY, **changed: Any) -> str:
        """An id token; a claim that is None is left out."""
        at = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "u1", "iat": at, "exp": at + 60, "nonce": PENDING.nonce}
        kept = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        return jwt.encode(kept, key, algorithm="RS256", headers={"kid": "k1"})

    def answer(self, path: str) -> tuple[int, Any]:
        """The answer to a request."""
        if path == "/.well-known/openid-configuration":
            names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
            return 200, {"issuer": self.url, **{name: f"{self.url}/{name}" for name in names}, **self.metadata}
        if path == "/jwks_uri":
            return 200, {"keys": [public_jwk()]}
        if path == "/userinfo_endpoint":
            return 200, self.userinfo
        if self.token_status != 200:
            return self.token_status, {"error": "invalid_grant"}
        id_token = self.id_token if self.id_token is not None else self.token(**self.claims)
        return 200, {"access_token": "a", "token_type": "bearer", "id_token": id_token}


def public_jwk() -> dict[str, Any]:
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1", "use": "sig"}


@contextmanager
def running(said: SaidByProvider) -> Iterator[None]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.body()
            status, body = said.answer(self.path)
            other = said.raw is not None and said.raw[0] == self.path
            self.answer(status, said.raw[1] if other and said.raw else json.dumps(body).encode())

        do_POST = do_GET

    with answered_by(Handler) as said.url:
        yield


@pytest.fixture
def said() -> Iterator[SaidByProvider]:
    found = SaidByProvider()
    with running(found):
        yield found


def provider(said: SaidByProvider) -> Provider:
    return Provider(Settings(hub_endpoint=said.url, hub_oauth_client_id=CLIENT, request_seconds=30))


def test_a_good_answer_names_its_user_and_the_organisations_that_they_administer(said: SaidByProvider) -> None:
    said.userinfo["orgs"] = [
        {"preferred_username": "acme", "name": "Acme", "roleInOrg": "admin"},
        {"preferred_username": "writes", "name": "acme", "roleInOrg": "write"},
        {"preferred_username": "hidden", "name": "x"},
        {"preferred_username": "locked", "name": "x", "roleInOrg": "admin", "missingMFA": True},
        {"preferred_username": "pending", "name": "x", "roleInOrg": "admin", "pendingSSO": True},
        {"preferred_username": "../etc", "name": "x", "roleInOrg": "admin"},
    ]
    found = provider(said).identity("code", PENDING)
    assert (found.user, found.subject) == ("alice", "u1")
    assert found.namespaces == {"alice", "acme"}
    assert found.organisations == {"acme", "writes", "hidden"}


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.test"},
        {"iss": None},
        {"aud": "another-application"},
        {"aud": [CLIENT, "another"]},
        {"aud": None},
        {"azp": "another"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": None},
        {"iat": int(time.time()) + 10**8},
        {"nonce": "another sign-in's"},
        {"nonce": None},
        {"sub": None},
        {"sub": "another user"},
    ],
)
def test_an_id_token_about_something_else_is_refused(said: SaidByProvider, changed: dict[str, Any]) -> None:
    said.claims = changed
    with pytest.raises(SignInError):
        provider(said).identity("code", PENDING)


def _unsigned(said: SaidByProvider) -> str:
    claims = jwt.decode(said.token(), options={"verify_signature": False})
    return jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})


def _hmac_with_the_public_key(said: SaidByProvider) -> str:
    """The public key, which everybody knows, as a secret for HMAC."""
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k1"}).encode()).rstrip(b"=")
    signed = head + b"." + said.token().split(".")[1].encode()
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(pem, signed, hashlib.sha256)).rstrip(b"=")).decode()


def _of_another_key(said: SaidByProvider) -> str:
    return said.token(OTHER_KEY)


def _with_its_own_key(said: SaidByProvider) -> str:
    claims = jwt.decode(said.token(), options={"verify_signature": False})
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)
    return jwt.encode(claims, OTHER_KEY, algorithm="RS256", headers={"kid": "k1", "jwk": jwk})


def _of_an_unknown_key(said: SaidByProvider) -> str:
    claims = jwt.decode(said.token(), options={"verify_signature": False})
    return jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "k2"})


@pytest.mark.parametrize(
    "forge", [_unsigned, _hmac_with_the_public_key, _of_another_key, _with_its_own_key, _of_an_unknown_key]
)
def test_an_id_token_that_the_hub_did_not_sign_is_refused(said: SaidByProvider, forge: Any) -> None:
    said.id_token = forge(said)
    with pytest.raises(SignInError):
        provider(said).identity("code", PENDING)
    said.id_token = said.token()
    assert provider(said).identity("code", PENDING).user == "alice"


def test_a_code_that_the_hub_does_not_take_proves_nothing(said: SaidByProvider) -> None:
    said.token_status = 400
    with pytest.raises(SignInError, match="sign in again"):
        provider(said).identity("code", PENDING)
    said.token_status = 503
    with pytest.raises((HubAway, SignInError)):
        provider(said).identity("code", PENDING)


def test_a_description_of_another_site_or_over_plain_http_is_refused(said: SaidByProvider) -> None:
    said.metadata = {"issuer": "https://evil.test"}
    with pytest.raises(SignInError, match="another site"):
        provider(said).address(PENDING)
    said.metadata = {"authorization_endpoint": "javascript:alert(1)"}
    with pytest.raises(SignInError):
        provider(said).address(PENDING)


def test_a_name_that_no_namespace_has_is_refused(said: SaidByProvider) -> None:
    for name in ("", "a b", "alice/../bob", "alice\n", "*"):
        said.userinfo["preferred_username"] = name
        with pytest.raises(SignInError):
            provider(said).identity("code", PENDING)


@pytest.mark.parametrize(
    "path", ["/.well-known/openid-configuration", "/jwks_uri", "/userinfo_endpoint", "/token_endpoint"]
)
def test_answers_of_other_shapes_sign_nobody_in(said: SaidByProvider, path: str) -> None:
    for content in (
        b"",
        b"null",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        b'{"keys": [7]}',
        b'{"access_token": 7, "id_token": ["x"], "expires_in": "soon"}',
        b'{"sub": "u1", "preferred_username": 7, "orgs": [7]}',
    ):
        said.raw = path, content
        # It asks for all of them, the description first.
        with pytest.raises(SignInError):
            provider(said).identity("code", PENDING)


@pytest.mark.parametrize("url", ["http://[::1", "http://\x00", "file:///etc/passwd", "http://x:99999999/", "//x"])
@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_what_is_no_address_is_not_asked(said: SaidByProvider, name: str, url: str) -> None:
    said.metadata = {name: url}
    with pytest.raises(SignInError, match="no address"):
        provider(said).address(PENDING)
