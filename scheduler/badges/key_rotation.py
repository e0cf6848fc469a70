"""How one signing key takes another's place, so that every badge can be checked at every moment.

A key is announced first: its public half is listed, and it signs nothing yet. Then it takes the place of the current
key, whose public half stays listed among the retired ones. Each step is one file that is made, moved or removed, so a
crash leaves a farm that signs and lists all that it needs; the next call finishes what was begun. A running farm takes
a new key up by itself: signatures and lists read the files each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scheduler.badges.signing import (
    KeyFileError,
    Signer,
    current_public,
    next_path,
    public_path,
    read_public,
    read_public_if_there,
    write_public,
)
from scheduler.settings import Settings


@dataclass(frozen=True)
class Rotation:
    """What became of two keys."""

    retired: str | None
    """The id of the key that signed until now; None where there was none."""

    current: str | None
    """That of the key that signs now; None where none does."""


def announce(settings: Settings) -> tuple[str, bool]:
    """Make the next key and have it listed; its id, and whether it was made now. The farm's first key signs at once.

    Raises:
        KeyFileError: a file is not what it should be, or cannot be written.
    """
    finish(settings)
    key = settings.signing_key
    if key.exists():
        key = next_path(key)
    with _explained(key):
        if key.exists():
            found = Signer.load(key)
            listed = read_public_if_there(public_path(key)) is not None
            if not listed:
                write_public(public_path(key), found.public_jwk)
            return found.key_id, not listed
        # The public half of a next key that is gone: nothing was signed with it.
        if key != settings.signing_key:
            public_path(key).unlink(missing_ok=True)
        return Signer.create(key).key_id, True


def rotate(settings: Settings, *, at_once: bool = False) -> Rotation:
    """Have the announced key sign from now on.

    Where none is announced, `at_once` makes one: those who keep a copy of the farm's keys do not know it then, and
    refuse its badges until they fetch the keys again.

    Raises:
        KeyFileError: no key is announced, a file is not what it should be, or cannot be written.
    """
    done = finish(settings)
    if done is not None:
        return done
    key, following = settings.signing_key, next_path(settings.signing_key)
    if not (following.exists() and public_path(following).exists()):
        if not at_once:
            raise KeyFileError(
                "no key is announced: make one with `reprofarm keys new`, and rotate when those who check badges have"
                " fetched the public keys again; --at-once does both now"
            )
        made, _ = announce(settings)
        if not following.exists():
            return Rotation(None, made)
    new = Signer.load(following)
    with _explained(key):
        old = _retire_public(settings)
        # From here on the new key signs. Its public half is listed as the next one until it is moved too.
        _move(following, key)
        _move(public_path(following), public_path(key))
    return Rotation(old, new.key_id)


def retire(settings: Settings) -> Rotation:
    """Take the current key out of use and put none in its place; its badges stay verifiable. The private key is gone.

    Raises:
        KeyFileError: there is no current key, a file is not what it should be, or cannot be written.
    """
    finish(settings)
    with _explained(settings.signing_key):
        old = _retire_public(settings)
        if old is None:
            raise KeyFileError(f"{settings.signing_key}: there is no key to retire")
        settings.signing_key.unlink(missing_ok=True)
        public_path(settings.signing_key).unlink(missing_ok=True)
    return Rotation(old, None)


def announced(settings: Settings) -> str | None:
    """The id of the announced key; None where there is none.

    Raises:
        KeyFileError: its file is not what it should be.
    """
    jwk = read_public_if_there(public_path(next_path(settings.signing_key)))
    return jwk["kid"] if jwk is not None else None


def lost_with(settings: Settings, key_id: str) -> list[str]:
    """The ids of keys in use that a revoked one takes with it: its own, if it signs or is announced.

    With the key that signs goes the announced one: it lay in the same folder, and whoever has one may have both.

    Raises:
        KeyFileError: a file is not what it should be.
    """
    current = current_public(settings)
    in_use = [each for each in (current["kid"] if current else None, announced(settings)) if each is not None]
    return in_use[in_use.index(key_id) :] if key_id in in_use else []


def replace_revoked(settings: Settings, key_id: str) -> Rotation | None:
    """Put another key in the place of a revoked one that signs or is announced; None where it does neither.

    What is announced is thrown away with the one that signs, in whose place comes a fresh one.

    Raises:
        KeyFileError: a file is not what it should be, or cannot be written.
    """
    finish(settings)
    if not lost_with(settings, key_id):
        return None
    following = next_path(settings.signing_key)
    current = current_public(settings)
    with _explained(following):
        public_path(following).unlink(missing_ok=True)
        following.unlink(missing_ok=True)
    if current is not None and current["kid"] == key_id:
        return rotate(settings, at_once=True)
    return Rotation(key_id, None)


def finish(settings: Settings) -> Rotation | None:
    """Finish a rotation that was interrupted when the new key had its place; None where there was none.

    Raises:
        KeyFileError: a file is not what it should be, or cannot be written.
    """
    key = settings.signing_key
    waiting = public_path(next_path(key))
    if not key.exists() or next_path(key).exists():
        return None
    new, current = read_public_if_there(waiting), read_public_if_there(public_path(key))
    if new is None or new == current or Signer.load(key).public_jwk != new:
        return None
    with _explained(key):
        _move(waiting, public_path(key))
    return Rotation(current["kid"] if current else None, new["kid"])


def signs(settings: Settings, key_id: str) -> bool:
    """Whether it is the key that signs."""
    return settings.signing_key.exists() and Signer.load(settings.signing_key).key_id == key_id


def _retire_public(settings: Settings) -> str | None:
    """Have the current key's public half among the retired ones; its id."""
    current = current_public(settings)
    if current is None:
        return None
    place = settings.retired_keys / f"{current['kid']}.json"
    try:
        write_public(place, current)
    except FileExistsError:
        if read_public(place) != current:
            raise KeyFileError(f"{place} is another key than its name says; move it away") from None
    return current["kid"]


def _move(origin: Path, place: Path) -> None:
    origin.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        # A rename is kept through a power cut once its folder is written.
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyFileError(
            f"the keys in {path.parent} cannot be written: {error.strerror}; keys that are mounted from a secret are"
            " changed where the secret is kept (docs/operator.md)"
        ) from error
