"""Routes with which people sign in to other applications by their account on this Hub.

A local Hub knows people by their access tokens, so the page on which they agree asks for one: it stays on the Hub, and
the application learns only who they are.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import time
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from deploy.localhub.api.request import Hub, endpoint_of, small_body
from deploy.localhub.errors import BadRequestError, UnauthorizedError
from deploy.localhub.hub import LocalHub
from deploy.localhub.oauth.applications import Application
from deploy.localhub.oauth.provider import TOKEN_SECONDS, Asked, subject_of, userinfo

router = APIRouter()

SCOPES = ("openid", "profile")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
MAX_VALUE_CHARS = 2000
_OF_A_LINK = (
    *("client_id", "redirect_uri", "response_type", "scope", "state", "nonce"),
    *("code_challenge", "code_challenge_method"),
)
"""What an application may ask for in an address; the answer comes from the page alone."""

_PAGE_HEADERS = {
    # No other site may show this page in a frame of its own and have somebody click on it.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in to {name}</title>
<style>body {{ font: 16px system-ui; max-width: 32em; margin: 10vh auto; padding: 0 1em }}
input[type=password] {{ width: 100%; padding: .5em; box-sizing: border-box }} button {{ padding: .5em 1em }}</style>
</head><body>
<h1>Sign in to {name}</h1>
<p>{name} learns your name on this Hub, the organisations that you are in, and your role in each. It gets no access
to your repos.</p>
{trouble}
<form method="post" action="/oauth/authorize">
{hidden}
<p><label>An access token of yours (it stays here)<br>
<input type="password" name="token" autocomplete="off"></label></p>
<p><button name="answer" value="allow">Sign in</button> <button name="answer" value="deny">Cancel</button></p>
</form></body></html>
"""


async def _form(request: Request) -> dict[str, str]:
    try:
        pairs = parse_qsl((await small_body(request)).decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise BadRequestError("The body is not a form") from error
    return dict(pairs)


Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/.well-known/openid-configuration")
def describe(request: Request) -> dict[str, Any]:
    """Where everything is (OpenID Connect Discovery 1.0)."""
    endpoint = endpoint_of(request)
    return {
        "issuer": endpoint,
        "authorization_endpoint": f"{endpoint}/oauth/authorize",
        "token_endpoint": f"{endpoint}/oauth/token",
        "userinfo_endpoint": f"{endpoint}/oauth/userinfo",
        "jwks_uri": f"{endpoint}/oauth/jwks",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["sub", "name", "preferred_username", "profile", "orgs"],
    }


@router.get("/oauth/jwks")
def keys(hub: Hub) -> dict[str, Any]:
    """The public key of id tokens."""
    return hub.storage.oauth_key.jwks()


@router.get("/oauth/authorize")
def ask(request: Request, hub: Hub) -> Response:
    """The page on which somebody agrees to sign in."""
    return _answer_or_page(
        request, hub, {name: value for name, value in request.query_params.items() if name in _OF_A_LINK}
    )


@router.post("/oauth/authorize")
def agree(request: Request, hub: Hub, form: Form) -> Response:
    """What they answered on that page."""
    return _answer_or_page(request, hub, form)


@router.post("/oauth/token")
def redeem(request: Request, hub: Hub, form: Form) -> Response:
    """Give an application that brings a code the id token and an access token."""
    try:
        application = _authenticated(request, hub, form)
        if form.get("grant_type") != "authorization_code":
            raise BadRequestError("unsupported_grant_type")
        found = request.app.state.grants.redeem(
            form.get("code", ""), application.client_id, form.get("redirect_uri", ""), form.get("code_verifier", "")
        )
    except (BadRequestError, UnauthorizedError) as error:
        # In the form of RFC 6749, section 5.2, which clients of OAuth read.
        return JSONResponse({"error": error.message}, error.status, {"Cache-Control": "no-store"})
    token, user, nonce = found
    at = int(time.time())
    claims = {
        "iss": endpoint_of(request),
        "sub": subject_of(user),
        "aud": application.client_id,
        "iat": at,
        "exp": at + TOKEN_SECONDS,
        "preferred_username": user,
        **({"nonce": nonce} if nonce is not None else {}),
    }
    answer = {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": " ".join(SCOPES),
        "id_token": hub.storage.oauth_key.sign(claims),
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.get("/oauth/userinfo")
def describe_user(request: Request, hub: Hub) -> dict[str, Any]:
    """Who an access token is about."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError("An access token is needed")
    user = request.app.state.grants.user_of(token.strip())
    return userinfo(user, endpoint_of(request), hub.storage.tokens, hub.storage.members)


def _answer_or_page(request: Request, hub: LocalHub, values: dict[str, str]) -> Response:
    """The next step of a sign-in. One that names an unknown address to return to is sent nowhere."""
    application = hub.storage.applications.find(values.get("client_id", ""))
    redirect_uri = values.get("redirect_uri", "")
    if redirect_uri not in application.redirect_uris:
        raise BadRequestError("The application is not known to be at the address to which you would be sent back")
    state = values.get("state", "")
    fault = _fault(values)
    if fault is not None:
        return _back(redirect_uri, error=fault, state=state)
    if values.get("answer") == "deny":
        return _back(redirect_uri, error="access_denied", state=state)
    if "answer" not in values:
        return _page(application, values)
    try:
        user = hub.storage.tokens.visitor(f"Bearer {values.get('token', '')}").name
    except UnauthorizedError:
        user = None
    if user is None:
        return _page(application, values, "This Hub knows no such access token.", 401)
    asked = Asked(application.client_id, redirect_uri, values["code_challenge"], values.get("nonce"))
    return _back(redirect_uri, code=request.app.state.grants.allow(user, asked), state=state)


def _fault(values: dict[str, str]) -> str | None:
    """What is wrong with a request, in the words of RFC 6749, section 4.1.2.1."""
    if any(len(value) > MAX_VALUE_CHARS for value in values.values()):
        return "invalid_request"
    if values.get("response_type") != "code":
        return "unsupported_response_type"
    if "openid" not in values.get("scope", "").split():
        return "invalid_scope"
    # Without it, a code that somebody overhears would do.
    if values.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(values.get("code_challenge", "")):
        return "invalid_request"
    return None


def _back(redirect_uri: str, **answer: str) -> Response:
    joint = "&" if "?" in redirect_uri else "?"
    return RedirectResponse(f"{redirect_uri}{joint}{urlencode(answer)}", 303, {"Cache-Control": "no-store"})


def _page(application: Application, values: dict[str, str], trouble: str = "", status: int = 200) -> Response:
    hidden = "\n".join(
        f'<input type="hidden" name="{name}" value="{html.escape(values[name])}">'
        for name in _OF_A_LINK
        if name in values
    )
    said = f'<p role="alert">{html.escape(trouble)}</p>' if trouble else ""
    text = _PAGE.format(name=html.escape(application.name), hidden=hidden, trouble=said)
    return HTMLResponse(text, status, _PAGE_HEADERS)


def _authenticated(request: Request, hub: LocalHub, form: dict[str, str]) -> Application:
    """The application that asks, by its secret: in the header or in the form (RFC 6749, section 2.3.1)."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError) as error:
            raise UnauthorizedError("invalid_client") from error
        client_id, secret = unquote(client_id), unquote(secret)
    try:
        application = hub.storage.applications.find(client_id)
    except BadRequestError as error:
        raise UnauthorizedError("invalid_client") from error
    if not application.has_secret(secret):
        raise UnauthorizedError("invalid_client")
    return application
