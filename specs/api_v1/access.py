"""What the API says, version 1, of callers and their tokens. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from specs.api_v1.views import View

Scope = Literal["read", "request", "operate"]
"""Each includes those before it."""

CallerKind = Literal["anonymous", "token", "session"]

TokenName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]

DEFAULT_DAYS = 90
MAX_DAYS = 730


class Asked(BaseModel):
    """The base of all bodies that a caller sends: an unknown field is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Me(View):
    """Who the API takes the caller for, and what that allows."""

    kind: CallerKind
    name: str | None
    """Of the token, or of the user on the Hub; null for anonymous callers."""

    actor: str
    """The name that the caller has in the record of events."""

    scopes: tuple[Scope, ...]
    namespaces: tuple[str, ...] | None
    """Whose models' and benchmarks' claims it may act on; null is all."""

    expires_at: datetime | None
    """Of the token or the session; null for anonymous callers."""

    sign_in: str | None
    """Where a person signs in with the Hub; null if the farm has no such sign-in, or the caller is signed in."""


class NewToken(Asked):
    """The token that is wanted."""

    name: TokenName
    """No other token, revoked ones included, has it."""

    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)] = ("read",)
    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1, max_length=100)] | None = None
    """For a token that requests: only for claims of models and benchmarks there. Null is everywhere."""

    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS
    """Until it expires."""


class TokenView(View):
    """A token that the farm gave out, without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    namespaces: tuple[str, ...] | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    """When it was last used, to the hour or so; null where it never was."""

    revoked_at: datetime | None
    """Null if it was not revoked, even if it has expired."""

    revoked_by: str | None


class TokenMade(TokenView):
    """A new token with its secret, which is shown this once."""

    token: str
