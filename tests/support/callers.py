"""Callers of a live API: what each kind sends along."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from scheduler.access import sessions, tokens
from scheduler.access.identity import Identity
from scheduler.database.tables import ApiToken, now
from specs.api_v1.access import NewToken, Scope
from tests.support.api import RunningApi

OPERATOR = "operator:ada"

Headers = dict[str, str]


def token(api: RunningApi, name: str, scope: Scope = "read", namespaces: tuple[str, ...] | None = None) -> Headers:
    """A token that counts."""
    wanted = NewToken(name=name, scopes=(scope,), namespaces=namespaces)
    return {"authorization": f"Bearer {tokens.make(api.rows.database, wanted, OPERATOR).secret}"}


def expired_token(api: RunningApi, name: str) -> Headers:
    """A token whose time is over."""
    headers = token(api, name, "operate")
    with api.rows.database.transaction() as session:
        past = now() - timedelta(seconds=1)
        session.execute(update(ApiToken).where(ApiToken.name == name).values(expires_at=past))
    return headers


def revoked_token(api: RunningApi, name: str) -> Headers:
    """A token that was taken back."""
    headers = token(api, name, "operate")
    tokens.revoke(api.rows.database, name, OPERATOR)
    return headers


def signed_in(api: RunningApi, user: str, *organisations: str) -> Headers:
    """Somebody's browser on one of the farm's own pages, who administers these organisations."""
    identity = Identity(
        user=user,
        subject=f"id-of-{user}",
        organisations=frozenset(organisations),
        namespaces=frozenset({user, *organisations}),
    )
    secret = sessions.open_session(api.rows.database, identity, timedelta(hours=1))
    return {"cookie": f"reprofarm-session={secret}", "origin": api.settings.public_url}
