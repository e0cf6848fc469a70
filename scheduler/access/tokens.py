"""Tokens of the API: given out with a name, scopes and a date, shown once, and revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from scheduler.access.scopes import with_included
from scheduler.access.secrets import TOKEN, digest, new_token
from scheduler.database.session import Database
from scheduler.database.tables import ApiToken, new_id, now
from scheduler.record import add_event
from specs.api_v1.access import NewToken
from specs.errors import AccessError

USED_AT_EVERY = timedelta(hours=1)
"""How exactly it is known when a token was last used; one write in that time, and reading writes nothing else."""

SUBJECT = "token"
"""Of events about tokens."""


@dataclass(frozen=True)
class Made:
    """A new token, with its secret for this once."""

    row: ApiToken
    secret: str


def make(database: Database, wanted: NewToken, actor: str) -> Made:
    """Make a token.

    Raises:
        AccessError: the name is taken, or the scopes do not go with namespaces.
    """
    scopes = with_included(wanted.scopes)
    if wanted.namespaces is not None and "operate" in scopes:
        raise AccessError("who operates acts on the whole farm: give the token namespaces or the scope operate")
    secret, created_at = new_token(), now()
    row = ApiToken(
        token_id=new_id(),
        name=wanted.name,
        sha256=digest(secret),
        scopes=sorted(wanted.scopes),
        namespaces=sorted(set(wanted.namespaces)) if wanted.namespaces is not None else None,
        created_at=created_at,
        created_by=actor,
        expires_at=created_at + timedelta(days=wanted.days),
    )
    try:
        with database.transaction() as session:
            session.add(row)
            add_event(session, actor, SUBJECT, row.token_id, "created", told(row))
    except IntegrityError as error:
        raise AccessError(f"there is or was a token {wanted.name}; the record of events needs another name") from error
    return Made(row, secret)


def told(row: ApiToken) -> str:
    """What a token may do, until when, and where: on a line for the record and for whoever made it."""
    # Without a namespace it acts on all, which nobody should have to read out of what is not said.
    where = "everywhere" if row.namespaces is None else f"in {', '.join(row.namespaces)}"
    return f"{row.name}: {', '.join(row.scopes)}, {where}, until {row.expires_at:%Y-%m-%d}"


def listed(database: Database) -> Sequence[ApiToken]:
    """All tokens, newest first, those that count no more included."""
    with database.reading() as session:
        return session.scalars(select(ApiToken).order_by(ApiToken.created_at.desc(), ApiToken.token_id)).all()


def revoke(database: Database, name_or_id: str, actor: str) -> ApiToken:
    """Have a token count no more, from the next request on.

    Raises:
        AccessError: there is none of that name or id, or it was revoked before.
    """
    with database.transaction() as session:
        row = session.scalar(
            select(ApiToken)
            .where((ApiToken.name == name_or_id) | (ApiToken.token_id == name_or_id))
            .with_for_update()
            .limit(1)
        )
        if row is None:
            raise AccessError(f"there is no token {name_or_id}")
        if row.revoked_at is not None:
            raise AccessError(f"token {row.name} was revoked by {row.revoked_by} on {row.revoked_at:%Y-%m-%d}")
        row.revoked_at, row.revoked_by = now(), actor
        add_event(session, actor, SUBJECT, row.token_id, "revoked", row.name)
        return row


def find(database: Database, secret: str) -> ApiToken | str:
    """The token that a caller showed, or why it does not count."""
    if not TOKEN.fullmatch(secret):
        return "this is no token of the farm: those are rf_ and 43 characters"
    with database.reading() as session:
        row = session.scalar(select(ApiToken).where(ApiToken.sha256 == digest(secret)))
    at = now()
    if row is None:
        return "the farm knows no such token"
    if row.revoked_at is not None:
        return f"the token {row.name} was revoked on {row.revoked_at:%Y-%m-%d}"
    if row.expires_at <= at:
        return f"the token {row.name} expired on {row.expires_at:%Y-%m-%d}"
    if row.used_at is None or at - row.used_at > USED_AT_EVERY:
        with database.transaction() as session:
            session.execute(update(ApiToken).where(ApiToken.token_id == row.token_id).values(used_at=at))
    return row
