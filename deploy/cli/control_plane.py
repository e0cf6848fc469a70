"""What the operator's commands work on: the settings and the database of the farm of this machine."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from deploy.farm.environments import Plan, settings_in
from scheduler.database.readiness import trouble_with_database
from scheduler.database.session import Database
from scheduler.settings import Settings
from specs.errors import PolicyError


class NoDatabaseError(PolicyError):
    """There is no farm's database in the folder that was named."""


def settings_of(var: Path) -> Settings:
    """The control plane's settings, where `var` is its folder."""
    return settings_in(Plan(folder=var, api_port=0, operator=dict(os.environ)).environment_of_control(""))


def operator() -> str:
    """Who acts, as the record names them: by the system's word, since the environment could say anything."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container's user may have no name.
        name = f"uid-{os.getuid()}"
    return f"operator:{name}"


def sqlite_file(settings: Settings) -> Path | None:
    """Where the farm's database is, where it is a file.

    Raises:
        PolicyError: its address is none.
    """
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        # Their words can hold the address, and with it a password.
        raise PolicyError("REPROFARM_DATABASE_URL is not a URL, such as sqlite:///var/reprofarm.db") from None
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextmanager
def opened_database(settings: Settings, *, may_make: bool = False, ready: bool = True) -> Iterator[Database]:
    """The farm's database; one that is not there is made where it `may_make` it.

    Raises:
        NoDatabaseError: it is a file that is not there.
        PolicyError: it cannot be used, or has not the tables that this version needs where it is to be `ready`.
    """
    file = sqlite_file(settings)
    # Opening it would make the file.
    if file is not None and not may_make and not file.is_file():
        where = "say with --var or REPROFARM_VAR where the farm is, or with --api where the command takes that"
        raise NoDatabaseError(f"there is no farm's database at {file}; {where}")
    database = Database(settings.database_url)
    try:
        if ready and (trouble := trouble_with_database(database, newer_is_fine=True)):
            raise PolicyError(f"the farm's database {trouble}; run this where the control plane runs")
        yield database
    except SQLAlchemyError as error:
        # The driver's own words can hold the address and the user's name.
        raise PolicyError(f"the farm's database cannot be used ({type(error).__name__})") from error
    finally:
        database.engine.dispose()
