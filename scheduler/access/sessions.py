"""Sessions of people who signed in with the Hub. They are rows, so that the farm can end them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, delete

from scheduler.access.identity import Identity
from scheduler.access.secrets import SESSION_ID, digest, new_secret
from scheduler.database.session import Database
from scheduler.database.tables import SignedIn, now
from scheduler.record import add_event

SUBJECT = "user"
"""Of events about people."""


def open_session(database: Database, identity: Identity, lifetime: timedelta) -> str:
    """Begin a session, and drop those that have run out; the id for the cookie."""
    secret, at = new_secret(), now()
    with database.transaction() as session:
        session.execute(delete(SignedIn).where(SignedIn.expires_at <= at))
        session.add(
            SignedIn(
                session_sha256=digest(secret),
                user=identity.user,
                subject=identity.subject,
                organisations=sorted(identity.organisations),
                namespaces=sorted(identity.namespaces),
                created_at=at,
                expires_at=at + lifetime,
            )
        )
        # The record is public; which organisations somebody administers may be hidden on the Hub.
        add_event(session, f"hub:{identity.user}", SUBJECT, identity.user, "signed_in", "signed in with the Hub")
    return secret


def find_session(database: Database, secret: str) -> SignedIn | None:
    """The session of a cookie; None where it is none, or has run out."""
    if not SESSION_ID.fullmatch(secret):
        return None
    with database.reading() as session:
        row = session.get(SignedIn, digest(secret))
    return row if row is not None and row.expires_at > now() else None


def close_session(database: Database, secret: str, actor: str) -> None:
    """End a session; of one that has ended already, nothing."""
    with database.transaction() as session:
        row = session.get(SignedIn, digest(secret))
        if row is not None:
            session.delete(row)
            add_event(session, actor, SUBJECT, row.user, "signed_out", "asked to")


def close_all_of(database: Database, user: str, actor: str) -> int:
    """End every session of a user; returns how many there were."""
    with database.transaction() as session:
        ended: CursorResult[Any] = session.execute(delete(SignedIn).where(SignedIn.user == user))  # type: ignore[assignment]
        if ended.rowcount:
            add_event(session, actor, SUBJECT, user, "signed_out", f"{ended.rowcount} sessions were ended")
        return ended.rowcount
