"""The Hub as OpenID provider: authorization code with PKCE, state and nonce.

A sign-in is proven in these steps; who refuses says which failed:
1. the state that comes back is one that this farm sent out, to this browser, and it was not used before (sign_in.py);
2. the Hub takes the code with the farm's secret and the code verifier, straight from the farm (RFC 7636);
3. the id token is signed by a key of the Hub, with an algorithm for public keys;
4. it is from this Hub (`iss`), for this farm (`aud`, `azp`), now (`exp`, `iat`), and for this sign-in (`nonce`);
5. the userinfo is of the same subject as the id token (OpenID Connect Core 1.0, section 5.3.2).
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from pydantic import BaseModel, ConfigDict, ValidationError

from scheduler.access.identity import Identity, identity_of
from scheduler.settings import Settings
from specs.errors import HubAway, PolicyError, SignInError
from specs.processes.bounded_answers import bound_answer, bound_request
from specs.processes.hub_client_hooks import waiting

SCOPES = "openid profile"
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signed by a private key that the Hub alone has. With HMAC, whoever knows the public key could sign."""

LEEWAY_SECONDS = 60
METADATA_SECONDS = 600.0
MAX_ANSWER_BYTES = 1024 * 1024


class _Metadata(BaseModel):
    """What is needed of the provider's description (OpenID Connect Discovery 1.0, section 3)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str


@dataclass(frozen=True)
class Pending:
    """What must come back with, or is needed for, the answer to one sign-in."""

    state: str
    nonce: str
    code_verifier: str


class Provider:
    """A Hub with which people sign in."""

    def __init__(self, settings: Settings) -> None:
        if settings.hub_oauth_client_id is None:
            raise PolicyError("REPROFARM_HUB_OAUTH_CLIENT_ID is not set, so that nobody can sign in with the Hub")
        self._client_id = settings.hub_oauth_client_id
        secret = settings.hub_oauth_client_secret
        self._client_secret = secret.get_secret_value() if secret is not None else None
        self._issuer = settings.hub_endpoint
        self._redirect_uri = f"{settings.public_url.rstrip('/')}/auth/callback"
        self._seconds = settings.request_seconds
        self._metadata: tuple[float, _Metadata] | None = None

    def address(self, pending: Pending) -> str:
        """Where a browser is sent to sign in.

        Raises:
            HubAway, SignInError: the Hub does not say where, or not as it should.
        """
        metadata = self._description()
        with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.code_verifier,
            )
        return str(url)

    def identity(self, code: str, pending: Pending) -> Identity:
        """Who signed in: steps 2 to 5 of this module.

        Raises:
            HubAway: the Hub does not answer; sign in again later.
            SignInError: a step failed.
        """
        metadata = self._description()
        try:
            with self._client() as client:
                granted = client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=pending.code_verifier,
                )
                keys = _json(client.request("GET", metadata.jwks_uri, withhold_token=True))
                subject = self._subject(granted.get("id_token"), keys, pending.nonce)
                userinfo = _json(client.get(metadata.userinfo_endpoint))
        except OAuthError as error:
            raise SignInError("the Hub does not take the code that the browser brought: sign in again") from error
        except httpx2.HTTPError as error:
            raise HubAway(f"the Hub does not answer ({type(error).__name__})") from error
        except (ValueError, TypeError, AttributeError, RecursionError, httpx2.InvalidURL) as error:
            # What its client makes of a grant that is none.
            raise SignInError("the Hub's answer to the code that the browser brought is not understood") from error
        if not isinstance(userinfo, dict) or userinfo.get("sub") != subject:
            raise SignInError("the Hub's description is of another user than its id token")
        return identity_of(userinfo)

    def _client(self) -> Any:  # authlib has no types
        return OAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret,
            token_endpoint_auth_method="client_secret_basic" if self._client_secret is not None else "none",
            code_challenge_method="S256",
            scope=SCOPES,
            redirect_uri=self._redirect_uri,
            timeout=self._seconds,
            follow_redirects=False,
            event_hooks=self._hooks,
        )

    @property
    def _hooks(self) -> dict[str, list[Any]]:
        """For clients: no answer is without end, in time or in bytes."""
        return {"request": [waiting(self._seconds), bound_request], "response": [bound_answer]}

    def _description(self) -> _Metadata:
        if self._metadata is not None and time.monotonic() < self._metadata[0] + METADATA_SECONDS:
            return self._metadata[1]
        try:
            with httpx2.Client(timeout=self._seconds, event_hooks=self._hooks) as client:
                answer = client.get(f"{self._issuer}/.well-known/openid-configuration")
        except httpx2.HTTPError as error:
            raise HubAway(f"the Hub does not answer ({type(error).__name__})") from error
        try:
            found = _Metadata.model_validate(_json(answer))
        except ValidationError as error:
            raise SignInError("the Hub's description of how to sign in is not understood") from error
        if found.issuer.rstrip("/") != self._issuer:
            raise SignInError(f"{self._issuer} describes the sign-in of another site")
        over_tls = urlsplit(self._issuer).scheme == "https"
        for url in (found.authorization_endpoint, found.token_endpoint, found.userinfo_endpoint, found.jwks_uri):
            scheme = _scheme(url)
            if scheme not in ("http", "https"):
                raise SignInError("the Hub describes a sign-in at what is no address")
            if over_tls and scheme != "https":
                raise SignInError("the Hub describes a sign-in over plain HTTP")
        self._metadata = (time.monotonic(), found)
        return found

    def _subject(self, id_token: object, keys: object, nonce: str) -> str:
        if not isinstance(id_token, str):
            raise SignInError("the Hub gave no id token")
        try:
            key = _key_of(id_token, keys)
            claims = jwt.decode(
                id_token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp", "iat", "sub", "nonce"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise SignInError(f"the Hub's id token does not hold: {type(error).__name__}") from error
        if str(claims["iss"]).rstrip("/") != self._issuer:
            raise SignInError("the id token is of another site")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._client_id) != self._client_id:
            raise SignInError("the id token was made for another application")
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise SignInError("the id token is of another sign-in")
        return str(claims["sub"])


def _key_of(id_token: str, keys: object) -> jwt.PyJWK:
    """The Hub's key that a token names; of a Hub with one key, that one."""
    if not isinstance(keys, dict):
        raise SignInError("the Hub's keys are not a JWK set")
    usable = jwt.PyJWKSet.from_dict(keys).keys
    wanted = jwt.get_unverified_header(id_token).get("kid")
    found = [key for key in usable if key.key_id == wanted] if wanted is not None else usable
    if len(found) != 1:
        raise SignInError("the id token names no key of the Hub")
    return found[0]


def _json(answer: httpx2.Response) -> Any:
    if answer.status_code >= 500 or answer.status_code == 429:
        raise HubAway(f"the Hub answers {answer.status_code}")
    if answer.status_code != 200 or len(answer.content) > MAX_ANSWER_BYTES:
        raise SignInError(f"the Hub answers {answer.status_code} where it should describe a sign-in")
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise SignInError("the Hub's answer is not JSON") from error


def _scheme(url: str) -> str | None:
    try:
        httpx2.URL(url)
        parts = urlsplit(url)
        # Looked at, it is checked to be a port.
        return parts.scheme if parts.port is None or parts.port else None
    except (ValueError, httpx2.InvalidURL):
        return None
