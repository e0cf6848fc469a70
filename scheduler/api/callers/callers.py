"""Who is calling, and what they may do.

The gate (scheduler/api/callers/gate.py) finds the caller of every request; a route says what it takes:

    @router.post("/{claim_id}/cancel")
    def cancel_claim(caller: Requester, ...) -> Done: ...

`TheCaller` is anybody, anonymous callers included. `requires(scope)` refuses who lacks the scope; `Requester` and
`Operator` are callers who have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from specs.api_v1.access import CallerKind, Scope

CHALLENGE = 'Bearer realm="reprofarm"'
"""For `WWW-Authenticate` (RFC 6750, section 3)."""

WHO_GIVES: dict[Scope, str] = {
    "read": "the farm's operator gives out tokens that read (reprofarm tokens new)",
    "request": "maintainers have it who sign in with the Hub (/auth/login), and tokens that the farm's operator gives",
    "operate": "only the farm's operators have it",
}


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request."""

    kind: CallerKind
    actor: str
    """As what they do is recorded: `token:NAME`, `hub:USER`, `anonymous`."""

    name: str | None
    """None for anonymous callers."""

    scopes: frozenset[Scope]
    """With those that they include."""

    namespaces: frozenset[str] | None
    """Of models and benchmarks whose claims they may act on; None is all."""

    expires_at: datetime | None = None

    @property
    def operates(self) -> bool:
        """Whether they may do everything."""
        return "operate" in self.scopes

    def speaks_for(self, *repo_ids: str | None) -> bool:
        """Whether one of these repos lies in a namespace that the caller acts for."""
        if self.namespaces is None:
            return True
        return any(repo_id is not None and repo_id.partition("/")[0] in self.namespaces for repo_id in repo_ids)


def anonymous(*, public_reading: bool) -> Caller:
    """Somebody who showed nothing."""
    return Caller("anonymous", "anonymous", None, frozenset({"read"} if public_reading else ()), frozenset())


class Unauthorized(HTTPException):
    """Nobody showed who they are, or what they showed does not count."""

    def __init__(self, detail: str, *, invalid_token: bool = False) -> None:
        error = ', error="invalid_token"' if invalid_token else ""
        super().__init__(401, detail, {"www-authenticate": CHALLENGE + error})


class Forbidden(HTTPException):
    """The caller is known, and may not do this; says what is missing and who could do it."""

    def __init__(self, detail: str, scope: Scope | None = None) -> None:
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        super().__init__(403, detail, {"www-authenticate": challenge} if scope is not None else None)


def caller_of(request: Request) -> Caller:
    """The caller that the gate found."""
    caller: Caller = request.state.caller
    return caller


def counted_as(request: Request) -> str:
    """Whose a request is where requests are counted: the caller's, or of one who showed nothing, the address's."""
    who: str = request.state.counted_as
    return who


async def _the_caller(request: Request) -> Caller:
    # Not in a thread: there is nothing to wait for.
    return caller_of(request)


TheCaller = Annotated[Caller, Depends(_the_caller)]

_in_the_document = HTTPBearer(auto_error=False, scheme_name="token", description="A token of the farm: `rf_…`.")


def refusal(caller: Caller, scope: Scope) -> HTTPException | None:
    """Why a caller is refused what asks for a scope; None where they have it."""
    if scope in caller.scopes:
        return None
    if caller.kind == "anonymous":
        return Unauthorized(f"this asks for the scope {scope}: {WHO_GIVES[scope]}")
    whose = f"your token {caller.name}" if caller.kind == "token" else f"the Hub's user {caller.name}"
    has = ", ".join(sorted(caller.scopes)) or "none"
    return Forbidden(f"this asks for the scope {scope}, and {whose} has {has}: {WHO_GIVES[scope]}", scope)


def requires(scope: Scope) -> Callable[..., Any]:
    """A dependency that gives the caller of a route, if they have the scope.

    Raises (when called):
        Unauthorized: nobody showed who they are.
        Forbidden: the caller lacks the scope.
    """

    async def check(caller: TheCaller, _shown: Annotated[object, Security(_in_the_document)]) -> Caller:
        refused = refusal(caller, scope)
        if refused is not None:
            raise refused
        return caller

    return check


Requester = Annotated[Caller, Depends(requires("request"))]
Operator = Annotated[Caller, Depends(requires("operate"))]
