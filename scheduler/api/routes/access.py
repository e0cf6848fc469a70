"""Who the caller is, and the tokens that the farm gives out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from scheduler.access import tokens
from scheduler.access.scopes import SCOPES
from scheduler.api.callers.callers import Operator, TheCaller
from scheduler.api.dependencies import TheSource
from scheduler.database.tables import ApiToken
from specs.api_v1.access import Me, NewToken, TokenMade, TokenView
from specs.api_v1.views import Page

router = APIRouter(prefix="/v1", tags=["access"])


@router.get("/me")
def me(source: TheSource, caller: TheCaller) -> Me:
    """Who the API takes you for, and what you may do."""
    offers_sign_in = caller.kind == "anonymous" and source.settings.hub_oauth_client_id is not None
    return Me(
        kind=caller.kind,
        name=caller.name,
        actor=caller.actor,
        scopes=tuple(scope for scope in SCOPES if scope in caller.scopes),
        namespaces=tuple(sorted(caller.namespaces)) if caller.namespaces is not None else None,
        expires_at=caller.expires_at,
        sign_in="/auth/login" if offers_sign_in else None,
    )


@router.get("/tokens")
def list_tokens(source: TheSource, _caller: Operator) -> Page[TokenView]:
    """All tokens, newest first, those that expired or were revoked included."""
    # In one part: an operator gives out dozens.
    return Page[TokenView](items=tuple(token_view(row) for row in tokens.listed(source.database)), next=None)


@router.post("/tokens", status_code=201)
def make_token(source: TheSource, caller: Operator, wanted: NewToken) -> TokenMade:
    """Make a token. Its secret is in this answer and nowhere else."""
    made = tokens.make(source.database, wanted, caller.actor)
    return TokenMade(**token_view(made.row).model_dump(), token=made.secret)


@router.delete("/tokens/{token_id}")
def revoke_token(
    source: TheSource, caller: Operator, token_id: Annotated[str, Path(max_length=64, description="Id or name.")]
) -> TokenView:
    """Have a token count no more, from the next request on."""
    return token_view(tokens.revoke(source.database, token_id, caller.actor))


def token_view(row: ApiToken) -> TokenView:
    """A token as the API shows it."""
    return TokenView(
        id=row.token_id,
        name=row.name,
        scopes=tuple(scope for scope in SCOPES if scope in row.scopes),
        namespaces=tuple(row.namespaces) if row.namespaces is not None else None,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )
