"""All keys that the farm has or had, with what became of each: from the files, the badges and the record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.badges.revoking import revoked_keys
from scheduler.badges.signing import Jwk, next_path, public_jwks, public_path, read_public_if_there
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Event
from scheduler.record import add_event
from scheduler.settings import Settings
from specs.errors import InterventionError

KeyState = Literal["current", "announced", "retired", "revoked", "unlisted"]

SHORTEST_ID_CHARS = 6


@dataclass(frozen=True)
class KnownKey:
    """One key."""

    key_id: str
    state: KeyState
    """`unlisted`: badges name it, and its public half is not there, so that nobody can check them."""

    since: datetime | None
    """When it came to be so, by the record, else by the date of its file; None where neither says it."""

    badges: int
    """That it signed."""

    revoked_badges: int
    reason: str | None
    """Why it is revoked."""


def listed_keys(settings: Settings, session: Session) -> dict[str, list[Jwk]]:
    """The public keys with which badges are checked, as a JWK set (RFC 7517): all that are not revoked.

    Raises:
        KeyFileError: a file is not what it should be.
    """
    keys = public_jwks(settings)["keys"]
    revoked = {row.key_id for row in revoked_keys(session)}
    return {"keys": [jwk for jwk in keys if jwk["kid"] not in revoked]}


def known_keys(settings: Settings, database: Database) -> list[KnownKey]:
    """All keys: the current one, the announced one, the retired ones, then those that are revoked or unlisted.

    Raises:
        KeyFileError: a file is not what it should be.
    """
    listed = [jwk["kid"] for jwk in public_jwks(settings)["keys"]]
    places = _places(settings)
    with database.reading() as session:
        revoked = {row.key_id: row for row in revoked_keys(session)}
        counts = {
            key_id: (int(all_of_it), int(gone))
            for key_id, all_of_it, gone in session.execute(
                select(Badge.key_id, func.count(), func.count(Badge.revoked_at)).group_by(Badge.key_id)
            )
        }
        changes = session.execute(
            select(Event.subject_id, func.max(Event.at)).where(Event.subject == "key").group_by(Event.subject_id)
        )
        last = dict(iter(changes))
    found = []
    for key_id in dict.fromkeys([*listed, *revoked, *sorted(counts)]):
        state, path = places.get(key_id, ("retired" if key_id in listed else "unlisted", None))
        row = revoked.get(key_id)
        badges, gone = counts.get(key_id, (0, 0))
        since = row.revoked_at if row else last.get(key_id) or _date(path)
        reason = row.revoked_reason if row else None
        found.append(KnownKey(key_id, "revoked" if row else state, since, badges, gone, reason))
    return sorted(found, key=lambda key: key.state == "revoked")


def whole_key_id(key_ids: Collection[str], start: str) -> str:
    """The one id of these that begins so.

    Raises:
        InterventionError: none does, or several do.
    """
    found = [key_id for key_id in key_ids if key_id.startswith(start)] if len(start) >= SHORTEST_ID_CHARS else []
    if len(found) != 1:
        raise InterventionError(
            f"{len(found) or 'no'} keys have an id like {start!r}; `reprofarm keys show` lists them"
        )
    return found[0]


def record(database: Database, key_id: str, what: KeyState, why: str, actor: str) -> None:
    """Add what became of a key to the record."""
    with database.transaction() as session:
        add_event(session, actor, "key", key_id, what, why)


def _places(settings: Settings) -> dict[str, tuple[KeyState, Path | None]]:
    announced, current = public_path(next_path(settings.signing_key)), public_path(settings.signing_key)
    found: dict[str, tuple[KeyState, Path | None]] = {}
    for path in settings.retired_keys.glob("*.json"):
        if (jwk := read_public_if_there(path)) is not None:
            found[jwk["kid"]] = ("retired", path)
    if (jwk := read_public_if_there(announced)) is not None:
        found[jwk["kid"]] = ("announced", announced)
    if (jwk := read_public_if_there(current)) is not None:
        found[jwk["kid"]] = ("current", current)
    return found


def _date(path: Path | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path else None
    except OSError:
        return None
