"""Signing in with the Hub, in a browser, and out again."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from scheduler.access import sessions, sign_in
from scheduler.access.openid import Provider
from scheduler.api.callers.callers import TheCaller
from scheduler.api.callers.cookies import SessionCookie
from scheduler.api.dependencies import TheSource
from scheduler.api.problems import NotFound
from scheduler.dashboard.pages import EXPLAINED, PageRoute
from specs.errors import SignInError


class SignInRoute(PageRoute):
    """Whose errors say what to do about a sign-in."""

    explained: ClassVar[dict[int, str]] = {
        HTTPStatus.BAD_REQUEST: "You are not signed in. What went wrong stands below; signing in again begins anew.",
        HTTPStatus.NOT_FOUND: "Nobody can sign in here. What is public can be read without.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "You are not signed in: a part of the address is missing, or none of ours.",
        HTTPStatus.BAD_GATEWAY: "You are not signed in, because the Hub does not answer. Try again in a moment.",
        HTTPStatus.SERVICE_UNAVAILABLE: EXPLAINED[HTTPStatus.SERVICE_UNAVAILABLE],
    }


router = APIRouter(prefix="/auth", route_class=SignInRoute, include_in_schema=False)

SEE_OTHER = 303
MAX_CODE_CHARS = 2000


@router.get("/login")
def login(
    request: Request,
    source: TheSource,
    next_path: Annotated[str, Query(alias="next", max_length=sign_in.MAX_PATH_CHARS)] = "/",
) -> Response:
    """Send a browser to the Hub, to come back to `next` signed in."""
    provider = _provider(request)
    pending = sign_in.begin(source.database, next_path)
    answer = RedirectResponse(provider.address(pending), SEE_OTHER)
    _begun(source).set(answer, pending.state, int(sign_in.PATIENCE.total_seconds()))
    return _not_kept(answer)


@router.get("/callback")
def callback(
    request: Request,
    source: TheSource,
    state: Annotated[str, Query(max_length=200)],
    code: Annotated[str | None, Query(max_length=MAX_CODE_CHARS)] = None,
    error: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Take the Hub's answer: a session, if it proves who somebody is."""
    provider = _provider(request)
    cookies = request.headers.get("cookie")
    begun = sign_in.take(source.database, state, _begun(source).value_in(cookies))
    answer = RedirectResponse(begun.next_path, SEE_OTHER)
    _begun(source).clear(answer)
    if error == "access_denied":
        # They changed their mind.
        return _not_kept(answer)
    if code is None:
        raise SignInError("the Hub gave no code: sign in again")
    identity = provider.identity(code, begun.pending)
    cookie = SessionCookie.for_settings(source.settings)
    before = cookie.value_in(cookies)
    if before is not None:
        sessions.close_session(source.database, before, f"hub:{identity.user}")
    lifetime = timedelta(hours=source.settings.session_hours)
    cookie.set(answer, sessions.open_session(source.database, identity, lifetime), int(lifetime.total_seconds()))
    return _not_kept(answer)


@router.post("/logout")
def logout(request: Request, source: TheSource, caller: TheCaller) -> Response:
    """End the session. Programs get 204; a form leads on to the front page."""
    cookie = SessionCookie.for_settings(source.settings)
    secret = cookie.value_in(request.headers.get("cookie"))
    if caller.kind == "session" and secret is not None:
        sessions.close_session(source.database, secret, caller.actor)
    by_form = "text/html" in request.headers.get("accept", "")
    answer = RedirectResponse("/", SEE_OTHER) if by_form else Response(status_code=204)
    if secret is not None:
        # What another site has a browser send comes without the cookie, and must not take it away.
        cookie.clear(answer)
    return _not_kept(answer)


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise NotFound(
            "this farm offers no sign-in with the Hub: its operator has not set REPROFARM_HUB_OAUTH_CLIENT_ID"
        )
    return provider


def _begun(source: TheSource) -> SessionCookie:
    return SessionCookie.for_settings(source.settings, "sign-in")


def _not_kept(answer: Response) -> Response:
    answer.headers["cache-control"] = "no-store"
    answer.headers["referrer-policy"] = "no-referrer"
    return answer
