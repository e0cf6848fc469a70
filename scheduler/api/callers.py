"""Who is calling, and what they may do.

Nobody can show who they are yet, so whatever asks for more than reading is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Depends
from starlette.exceptions import HTTPException

Scope = Literal["read", "request", "operate"]


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request."""

    kind: str
    actor: str
    """As what they do is recorded: `token:NAME`, `hub:USER`, `anonymous`."""

    name: str | None
    scopes: frozenset[Scope]
    namespaces: frozenset[str] | None
    """Of models and benchmarks whose claims they may act on; None is all."""

    expires_at: datetime | None = None


async def _the_caller() -> Caller:
    return Caller("anonymous", "anonymous", None, frozenset({"read"}), frozenset())


TheCaller = Annotated[Caller, Depends(_the_caller)]


@cache
def requires(scope: Scope) -> Callable[..., Any]:
    """A dependency that gives the caller of a route, if they have the scope."""

    async def check(caller: TheCaller) -> Caller:
        if scope not in caller.scopes:
            challenge = {"www-authenticate": 'Bearer realm="reprofarm"'}
            raise HTTPException(401, f"this asks for the scope {scope}", challenge)
        return caller

    return check


Requester = Annotated[Caller, Depends(requires("request"))]
Operator = Annotated[Caller, Depends(requires("operate"))]
