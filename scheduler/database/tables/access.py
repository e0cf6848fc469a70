"""Tokens, sessions and sign-ins. No secret of any: the SHA-256 alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, new_id, now


class ApiToken(Table):
    """A token that the farm gave out. Rows stay when it is revoked: its name is in the record of events."""

    __tablename__ = "api_token"

    token_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """`token:NAME` is the actor of what it does, so no two ever have the same."""

    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    """Of the token. It is 32 random bytes, so that a fast hash keeps it as well as a slow one: nobody can try them."""

    scopes: Mapped[list[Any]]
    namespaces: Mapped[list[Any] | None]
    """Of models and benchmarks whose claims it may act on; None is all."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    """To the hour or so, so that reading does not write."""

    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None] = mapped_column(String(200))


class SignIn(Table):
    """A sign-in that was sent to the Hub and is not back yet. Taken out by the first answer."""

    __tablename__ = "sign_in"
    __table_args__ = (Index("sign_in_by_expiry", "expires_at"),)

    state_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(100))
    code_verifier: Mapped[str] = mapped_column(String(128))
    """Worth nothing without the code that only the browser brings, and gone with it."""

    next_path: Mapped[str] = mapped_column(String(2000))
    expires_at: Mapped[datetime]


class SignedIn(Table):
    """A session of somebody who signed in with the Hub."""

    __tablename__ = "session"
    __table_args__ = (Index("session_by_expiry", "expires_at"), Index("session_by_user", "user"))

    session_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the random id in the cookie."""

    user: Mapped[str] = mapped_column(String(100))
    """The name on the Hub."""

    subject: Mapped[str] = mapped_column(String(200))
    """The Hub's id of the user, which stays when the name changes."""

    organisations: Mapped[list[Any]]
    """Those whose member the user was at the time."""

    namespaces: Mapped[list[Any]]
    """Those that the user administered at the time, the own one included."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
