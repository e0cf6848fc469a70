"""The farm whose control plane runs on this machine: its database, and who the operator is."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from deploy.farm.environments import Plan, settings_in
from scheduler.database.session import Database
from scheduler.readiness import trouble_with_database
from scheduler.settings import Settings
from specs.errors import PolicyError


def own_settings(var: Path) -> Settings:
    """The settings of the control plane that `reprofarm up --var` runs, or that the environment names."""
    return settings_in(Plan(folder=var, api_port=0, operator=dict(os.environ)).environment_of_control(""))


@contextmanager
def own_database(var: Path) -> Iterator[Database]:
    """The farm's database, for one command.

    Raises:
        PolicyError: there is none, it does not answer, or is of another version; the operator must act.
    """
    try:
        url = make_url(own_settings(var).database_url)
    except ArgumentError as error:
        raise PolicyError("REPROFARM_DATABASE_URL is not a URL, such as sqlite:///var/reprofarm.db") from error
    # Opening it would make the file.
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise PolicyError(
            f"there is no farm's database at {url.database}; say with --var where the farm is, or with --api"
        )
    database = Database(url.render_as_string(hide_password=False))
    try:
        trouble = trouble_with_database(database)
        if trouble:
            raise PolicyError(f"the farm's database {trouble}; run this where the control plane runs")
        yield database
    except SQLAlchemyError as error:
        # The driver's own words can hold the address and the user's name.
        raise PolicyError(f"the farm's database cannot be used ({type(error).__name__})") from error
    finally:
        database.engine.dispose()


def operator() -> str:
    """Who runs this, as the system knows it (the environment could say anything), as the record names it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container's user may have no name.
        name = f"uid-{os.getuid()}"
    return f"operator:{name}"
