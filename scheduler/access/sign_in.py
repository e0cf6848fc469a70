"""Sign-ins that were sent to the Hub and wait for their answer. Each is answered once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from sqlalchemy import delete, select

from scheduler.access.openid import Pending
from scheduler.access.secrets import digest, new_secret
from scheduler.database.session import Database
from scheduler.database.tables import SignIn, now
from specs.errors import SignInError

PATIENCE = timedelta(minutes=10)
"""With somebody who is typing a password on the Hub."""

MAX_PATH_CHARS = 2000

# No second slash or backslash, which browsers take for the start of another host, and nothing that they would skip.
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


_OF_A_QUERY = "%/?:@!$&'()*+,;=[]"
"""What stands in a query as it is; the rest is quoted, where a browser did not do so."""


@dataclass(frozen=True)
class Begun:
    """A sign-in that came back: what proves it, and where the person wanted to go."""

    pending: Pending
    next_path: str


def address(path: str, query: str) -> str:
    """Where somebody signs in who comes back to the page that they are on, filters and all.

    `path` is unquoted, and `query` as it came. What could not be come back to becomes its page without the query, or
    the front page.
    """
    page = quote(path, safe="/")
    whole = f"{page}?{quote(query, safe=_OF_A_QUERY)}" if query else page
    # Back to a sign-in that failed leads nowhere.
    possible = () if path.startswith("/auth/") else (whole, page)
    return f"/auth/login?next={quote(next(filter(_is_own, possible), '/'), safe='/')}"


def own_path(path: str) -> str:
    """A path of this farm's own, to go to after a sign-in.

    Raises:
        SignInError: it leads, or might lead, elsewhere.
    """
    if not _is_own(path):
        raise SignInError("`next` has to be a path of this farm, such as /claims")
    return path


def _is_own(path: str) -> bool:
    return len(path) <= MAX_PATH_CHARS and _OWN_PATH.fullmatch(path) is not None


def begin(database: Database, next_path: str) -> Pending:
    """Remember a sign-in until it comes back, and forget those that never did.

    Raises:
        SignInError: `next_path` leads elsewhere.
    """
    path, at = own_path(next_path), now()
    pending = Pending(state=new_secret(), nonce=new_secret(), code_verifier=new_secret())
    with database.transaction() as session:
        session.execute(delete(SignIn).where(SignIn.expires_at <= at))
        session.add(
            SignIn(
                state_sha256=digest(pending.state),
                nonce=pending.nonce,
                code_verifier=pending.code_verifier,
                next_path=path,
                expires_at=at + PATIENCE,
            )
        )
    return pending


def take(database: Database, state: str, of_browser: str | None) -> Begun:
    """The sign-in that an answer of the Hub is about; no other answer gets it again.

    Raises:
        SignInError: none such was begun in this browser, it is too old, or it was answered before.
    """
    # Whoever is lured here with another's answer would act in that other's name without knowing.
    if of_browser is None or of_browser != state:
        raise SignInError("this sign-in was not begun in this browser, or too long ago: sign in again")
    with database.transaction() as session:
        row = session.scalar(select(SignIn).where(SignIn.state_sha256 == digest(state)).with_for_update())
        if row is None:
            raise SignInError("this sign-in was used already, or is too old: sign in again")
        session.delete(row)
        expired = row.expires_at <= now()
    if expired:
        raise SignInError("this sign-in took too long: sign in again")
    return Begun(Pending(state, row.nonce, row.code_verifier), row.next_path)
