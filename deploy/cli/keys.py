"""`reprofarm keys`: the keys that sign badges, on the control plane's machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from deploy.cli.control_plane import NoDatabaseError, opened_database, operator, settings_of
from deploy.cli.options import DEFAULT_VAR, AsJson, Var
from deploy.cli.reasons import reason
from deploy.cli.terminal import console, print_json_list, say, shown
from deploy.farm.lock import only_one_in
from scheduler.badges import key_rotation
from scheduler.badges.keyring import KeyState, KnownKey, known_keys, record, whole_key_id
from scheduler.badges.revoking import revoke_key, trouble_with_key
from scheduler.badges.signing import KeyFileError, public_jwks
from scheduler.settings import Settings
from specs.errors import PolicyError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Show, create, rotate, retire and revoke signing keys.",
)


@app.command()
def show(var: Var = DEFAULT_VAR, as_json: AsJson = False) -> None:
    """List all keys: which signs, which is announced, which are retired or revoked, and how many badges each signed.

    With --json: {"items": […], "next": null}, of {"key_id", "state", "since", "badges", "revoked_badges", "reason"}.
    """
    settings = settings_of(var)
    with opened_database(settings) as database:
        keys = known_keys(settings, database)
    if as_json:
        print_json_list([{**asdict(key), "since": key.since.isoformat() if key.since else None} for key in keys])
    else:
        console().print(_table(keys))


@app.command()
def new(var: Var = DEFAULT_VAR) -> None:
    """Create the next key and announce it among the public keys; it signs after `keys rotate`.

    Wait between the two for as long as those who check badges may keep a copy of the public keys: a day is plenty.
    """
    settings = settings_of(var)
    with _alone(settings):
        _drop_revoked(settings)
        key_id, made = key_rotation.announce(settings)
        signs = key_rotation.signs(settings, key_id)
    if made:
        _record(settings, key_id, "current" if signs else "announced", "a new key")
    if signs:
        say(f"key {key_id} is made, and signs from now on: there was none")
        return
    done = "made and announced" if made else "announced already"
    say(f"key {key_id} is {done}; `reprofarm keys rotate` has it sign")


@app.command()
def rotate(
    at_once: Annotated[bool, typer.Option("--at-once", help="Create the new key now, if none is announced.")] = False,
    var: Var = DEFAULT_VAR,
) -> None:
    """Sign with the announced key from now on; the old one stays listed, and its private half is deleted.

    A running farm signs with the new key from its next badge on. Interrupted, it is finished by the next call.
    """
    settings = settings_of(var)
    with _alone(settings):
        _drop_revoked(settings)
        done = key_rotation.rotate(settings, at_once=at_once)
    _tell(settings, done, "rotated")


@app.command()
def retire(var: Var = DEFAULT_VAR) -> None:
    """Take the current key out of use and put none in its place; its badges stay verifiable.

    Verified claims wait for their badge until there is a key again. The private half is deleted.
    """
    settings = settings_of(var)
    with _alone(settings):
        done = key_rotation.retire(settings)
    _tell(settings, done, "taken out of use")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys show` has it, or the beginning of it.")],
    why: Annotated[str, typer.Option(help="The reason, for everybody who checks its badges.", callback=reason)],
    var: Var = DEFAULT_VAR,
) -> None:
    """Revoke a key that others may have: every badge that it signed is revoked, and it is no longer listed.

    If it is the current one, a fresh key takes its place at once, and the announced one is revoked with it. There is no
    way back: claims whose badges are revoked so get new ones by being verified again.

    Keys from a secret: once where the farm's database is, and once more with --var on a copy of their files.
    """
    settings = settings_of(var)
    try:
        with opened_database(settings) as database:
            whole = whole_key_id([key.key_id for key in known_keys(settings, database)], key_id)
            # First what stops the damage; the files come after, and may lie in a secret that nothing here can write.
            say(*revoke_key(database, whole, why, operator()))
            for beside in key_rotation.lost_with(settings, whole)[1:]:
                say(*revoke_key(database, beside, f"it lay beside key {whole}, which is revoked: {why}", operator()))
    except NoDatabaseError as error:
        # A copy of a cluster's keys. A database that is there and does not answer is another matter: with other files
        # alone, the farm would go on listing the key.
        say(f"not on the record: {error}", "the farm trusts the key until it is revoked where its database is")
        whole = whole_key_id([jwk["kid"] for jwk in public_jwks(settings)["keys"]], key_id)
    lost = key_rotation.lost_with(settings, whole)
    if not lost:
        return
    try:
        with _alone(settings):
            done = [key_rotation.replace_revoked(settings, each) for each in lost]
    except KeyFileError as error:
        raise PolicyError(f"the farm signs nothing with {' and '.join(lost)}, still in place: {error}") from error
    for each in done:
        if each is not None and each.current is not None:
            _record(settings, each.current, "current", "in the place of a revoked key")
            say(f"key {each.current} signs from now on")


def _tell(settings: Settings, done: key_rotation.Rotation, why: str) -> None:
    if done.retired is not None:
        _record(settings, done.retired, "retired", why)
        say(f"key {done.retired} is retired: it signs nothing more, and stays listed for its badges")
    if done.current is not None:
        _record(settings, done.current, "current", why)
        say(f"key {done.current} signs from now on")
    else:
        say("no key signs now: `reprofarm keys new` makes one")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the folder of the keys, so that two operators do not rotate at once."""
    try:
        with only_one_in(settings.signing_key.parent, "rotation"):
            yield
    except OSError as error:
        raise KeyFileError(
            f"the keys in {settings.signing_key.parent} cannot be written: {error.strerror}; keys that are mounted from"
            " a secret are changed where the secret is kept (docs/operator.md)"
        ) from error


def _drop_revoked(settings: Settings) -> None:
    """Throw the announced key away if it is revoked: a `revoke` that died before the files has left it."""
    announced = key_rotation.announced(settings)
    if announced is None:
        return
    try:
        with opened_database(settings) as database, database.reading() as session:
            revoked = trouble_with_key(session, announced) is not None
    except PolicyError:
        # On a copy of a cluster's keys nobody knows; `_record` says that it is out of reach.
        return
    if revoked:
        key_rotation.replace_revoked(settings, announced)
        say(f"key {announced} is revoked, and announced no more")


def _record(settings: Settings, key_id: str, what: KeyState, why: str) -> None:
    try:
        with opened_database(settings) as database:
            record(database, key_id, what, why, operator())
    except PolicyError as error:
        # Where the keys of a cluster are made, its database may be out of reach.
        say(f"not on the record: {error}")


def _table(keys: list[KnownKey]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("key", "state", "since", "badges", "of them revoked", ""):
        table.add_column(name, no_wrap=name == "key", overflow="fold")
    for key in keys:
        since = f"{key.since:%Y-%m-%d %H:%M} UTC" if key.since else "–"
        count, gone = str(key.badges), str(key.revoked_badges)
        table.add_row(shown(key.key_id, 100), key.state, since, count, gone, shown(key.reason))
    return table
