"""What every request passes before a route sees it: who calls, whether they may read, and how much they ask for.

It wraps the whole app, so that a route or a mounted page that forgets to ask is closed with the others.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.access import sessions, sign_in, tokens
from scheduler.access.scopes import with_included
from scheduler.access.secrets import TOKEN
from scheduler.api import problems
from scheduler.api.callers.allowance import Allowances, Allowed, address_of
from scheduler.api.callers.callers import Caller, Forbidden, Unauthorized, anonymous, refusal
from scheduler.api.callers.cookies import SessionCookie
from scheduler.api.dependencies import Source
from scheduler.database.tables import ApiToken, SignedIn
from scheduler.settings import BY_ID

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

ALWAYS_OPEN = frozenset(
    {
        # Whatever keeps the process alive has no token, and learns nothing from them.
        "/healthz",
        "/readyz",
        # A badge that was shown to somebody must be checked by anybody: with the keys, and the list of those that no
        # longer count. A revocation that only insiders can read protects nobody.
        "/.well-known/jwks.json",
        "/v1/revocations",
        "/v1/revocations/keys",
        # What a client needs before it has anything to show.
        "/v1/me",
        "/auth/login",
        "/auth/callback",
        "/auth/logout",
        # Carries a secret of its own.
        "/hub/webhook",
    }
)
"""Readable even where reading is not public."""

WITHOUT_LIMIT = frozenset({"/healthz", "/readyz", "/metrics"})
COUNTED_AS_READS = frozenset({"/hub/webhook"})
"""Not GETs, and no caller's actions."""

PAGES_FILES = "/static/"
"""Styles and scripts, the same on every farm: without them nobody can read the page that turns them away."""

METRICS = "/metrics"
READ_HEADERS = frozenset({b"authorization", b"cookie", b"origin", b"sec-fetch-site", b"accept"})
MAX_CREDENTIALS_CHARS = 4096
MAX_BODY_BYTES = 1024 * 1024

TOKEN_IN_ADDRESS = re.compile(rb"(?:^|&)access_token=|" + TOKEN.pattern.encode())

RefusalPage = Callable[[Scope, HTTPException], Response]
"""Makes a page of a refusal; the scope's state has the caller."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shown:
    """The headers of a request that say who calls and from where."""

    authorization: str | None
    cookie: str | None
    origin: str | None
    fetch_site: str | None
    accept: str
    forwarded_for: list[str]


class Gate:
    """The app behind it gets `request.state.caller`, and `counted_as`, whose requests a request is one of."""

    def __init__(self, app: ASGIApp, source: Source, refusal_page: RefusalPage) -> None:
        """`refusal_page` is for who asks for a page; programs are refused in JSON."""
        self._app = app
        self._refusal_page = refusal_page
        self._source = source
        self._settings = source.settings
        self._allowances = Allowances(source.settings)
        self._cookie = SessionCookie.for_settings(source.settings)
        self._anonymous = anonymous(public_reading=source.settings.public_reading)
        self._origin = _origin_of(source.settings.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shown = _shown(scope)
        allowed: Allowed | None = None
        caller, who = self._anonymous, "nobody yet"
        try:
            _refuse_what_leaks(scope, shown)
            address = self._address(scope, shown)
            caller = await self._caller(shown, address)
            who = caller.actor if caller.kind != "anonymous" else f"address:{address}"
            allowed = await self._take(scope, caller, who, address)
            if allowed is not None and not allowed.granted:
                raise _too_many(allowed)
            self._refuse_forged(scope, shown, caller)
            answer = self._refuse_reading(scope, shown, caller)
        except (HTTPException, *problems.DATABASE_ERRORS) as error:
            refused = error if isinstance(error, HTTPException) else problems.DatabaseAway(error)
            scope.setdefault("state", {}).update(caller=caller)
            answer = self._refusal_page(scope, refused) if _asks_for_a_page(shown) else problems.problem_of(refused)
        passed = self._passing(send, allowed)
        if answer is not None:
            await answer(scope, receive, passed)
            return
        scope.setdefault("state", {}).update(caller=caller, counted_as=who)
        await self._app(scope, receive if scope["method"] in SAFE else _bounded(receive), passed)

    def _address(self, scope: Scope, shown: _Shown) -> str:
        client = scope.get("client")
        return address_of(client[0] if client else "unknown", shown.forwarded_for, self._settings.proxies)

    async def _caller(self, shown: _Shown, address: str) -> Caller:
        secret = self._cookie.value_in(shown.cookie)
        if shown.authorization is None and secret is None:
            return self._anonymous
        if shown.authorization is not None:
            # A token that does not count is said to be so, even where anybody may read: its holder wants to know.
            found = await run_in_threadpool(self._by_token, shown.authorization)
        else:
            session = await run_in_threadpool(sessions.find_session, self._source.database, secret or "")
            # One that ran out is as good as none: the browser sends it until it forgets it.
            found = self._by_session(session) if session is not None else self._anonymous
        if isinstance(found, str):
            # Counted for the address, so that guessing is bounded and bounds nobody who is known.
            allowed = self._allowances.take("reads", f"address:{address}")
            if allowed is not None and not allowed.granted:
                raise _too_many(allowed)
            raise Unauthorized(found, invalid_token=True)
        return found

    def _by_token(self, authorization: str) -> Caller | str:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return "the farm takes tokens alone: Authorization: Bearer rf_…"
        row = tokens.find(self._source.database, secret.strip())
        return row if isinstance(row, str) else _of_token(row)

    def _by_session(self, row: SignedIn) -> Caller:
        settings = self._settings
        people = {row.user, f"{BY_ID}{row.subject}"}
        operates = bool(people & set(settings.operators))
        reads = settings.public_reading or bool({"*", *people, *row.organisations} & set(settings.readers))
        scopes = with_included({"operate"} if operates else {"request"} if reads else ())
        namespaces = None if operates else frozenset(row.namespaces)
        return Caller("session", f"hub:{row.user}", row.user, scopes, namespaces, row.expires_at)

    async def _take(self, scope: Scope, caller: Caller, who: str, address: str) -> Allowed | None:
        path = scope["path"]
        if path in WITHOUT_LIMIT:
            return None
        if path in ("/auth/login", "/auth/callback"):
            return self._allowances.take("sign_ins", address)
        if _is_a_file(path):
            # Counted apart: what asks for too much still sees the page that says so, with its styles.
            return self._allowances.take("reads", f"files of {who}")
        # Who operates works through lists; the bound on reads keeps a runaway script off.
        if scope["method"] in SAFE or path in COUNTED_AS_READS or caller.operates:
            return self._allowances.take("reads", who)
        return await run_in_threadpool(self._allowances.take_shared, "actions", who)

    def _refuse_forged(self, scope: Scope, shown: _Shown, caller: Caller) -> None:
        """A browser sends the cookie along whoever made it send the request; what acts must come from our own pages."""
        if caller.kind != "session" or scope["method"] in SAFE:
            return
        # Browsers write both headers themselves, and no page can change them.
        ours = shown.fetch_site == "same-origin" if shown.fetch_site is not None else shown.origin == self._origin
        if not ours:
            raise Forbidden(
                f"a request with a session must come from the farm's own pages, at {self._origin} (Sec-Fetch-Site or"
                " Origin says it does not); programs use a token"
            )

    def _refuse_reading(self, scope: Scope, shown: _Shown, caller: Caller) -> Response | None:
        path = scope["path"]
        if path == METRICS:
            # Open or not by a setting of its own: whatever scrapes it is often set up apart from people.
            if self._settings.public_metrics or (caller.kind != "anonymous" and "read" in caller.scopes):
                return None
        elif "read" in caller.scopes or scope["method"] == "OPTIONS" or _is_open(path):
            return None
        if caller.kind == "anonymous" and self._settings.hub_oauth_client_id and _is_a_person(scope, shown):
            return RedirectResponse(
                sign_in.address(path, scope["query_string"].decode("latin-1")), HTTPStatus.SEE_OTHER
            )
        refused = refusal(caller, "read") or Unauthorized("the farm's figures are for callers that it knows")
        raise refused

    def _passing(self, send: Send, allowed: Allowed | None) -> Send:
        """`send`, with what is left of the allowance; answers of a closed farm stay out of shared caches."""
        extra = allowed.headers if allowed is not None else []
        closed = not self._settings.public_reading

        async def passed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if closed:
                    headers = [
                        (name, _private(value) if name == b"cache-control" else value) for name, value in headers
                    ]
                    headers.append((b"vary", b"authorization, cookie"))
                message = {**message, "headers": [*headers, *extra]}
            await send(message)

        return passed


def _of_token(row: ApiToken) -> Caller:
    namespaces = frozenset(row.namespaces) if row.namespaces is not None else None
    return Caller("token", f"token:{row.name}", row.name, with_included(row.scopes), namespaces, row.expires_at)


def _shown(scope: Scope) -> _Shown:
    found: dict[bytes, str] = {}
    forwarded: list[str] = []
    for name, value in scope["headers"]:
        if name in READ_HEADERS:
            text = value.decode("latin-1")
            # A browser may split its cookies over several headers (RFC 9113, section 8.2.3).
            found[name] = f"{found[name]}; {text}" if name == b"cookie" and name in found else text
        elif name == b"x-forwarded-for":
            forwarded.append(value.decode("latin-1"))
    return _Shown(
        authorization=found.get(b"authorization"),
        cookie=found.get(b"cookie"),
        origin=found.get(b"origin"),
        fetch_site=found.get(b"sec-fetch-site"),
        accept=found.get(b"accept", ""),
        forwarded_for=forwarded,
    )


def _refuse_what_leaks(scope: Scope, shown: _Shown) -> None:
    if TOKEN_IN_ADDRESS.search(scope["query_string"]):
        raise HTTPException(
            400,
            "a token in an address ends up in logs and histories, so it is not taken there: send it as"
            " Authorization: Bearer, and have this one revoked",
        )
    if len(shown.authorization or "") > MAX_CREDENTIALS_CHARS or len(shown.cookie or "") > 2 * MAX_CREDENTIALS_CHARS:
        raise HTTPException(431, "the Authorization or Cookie header is longer than any that this API gives out")


def _bounded(receive: Receive) -> Receive:
    """`receive`, which ends a request whose body is longer than anything that this API takes."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes")
        return message

    return bounded


def _too_many(allowed: Allowed) -> HTTPException:
    return HTTPException(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"that is more than one caller may ask for; try again in {allowed.reset_seconds} s",
        {"retry-after": str(allowed.reset_seconds)},
    )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_open(path: str) -> bool:
    return path in ALWAYS_OPEN or _is_a_file(path)


def _is_a_file(path: str) -> bool:
    return f"{path}/".startswith(PAGES_FILES)


def _is_a_person(scope: Scope, shown: _Shown) -> bool:
    return scope["method"] == "GET" and _asks_for_a_page(shown)


def _asks_for_a_page(shown: _Shown) -> bool:
    return "text/html" in shown.accept


def _private(cache_control: bytes) -> bytes:
    said = cache_control.replace(b"public", b"private")
    return said if b"private" in said or b"no-store" in said else b"private, " + said
