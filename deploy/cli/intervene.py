"""`reprofarm cancel`, `retry` and `reverify`: an operator's hand, on the control plane's machine."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from deploy.cli.terminal import console, shown
from deploy.farm.environments import Plan, settings_in
from scheduler import intervening, reverifying
from scheduler.database.session import Database
from scheduler.settings import Settings
from specs.errors import PolicyError
from specs.policy import read_policy

Target = Annotated[
    str, typer.Argument(metavar="ID", help="Of a claim or a reproduction, or the beginning of it.", show_default=False)
]
Var = Annotated[Path, typer.Option(help="The farm's folder, as `up` has it; REPROFARM_DATABASE_URL wins over it.")]
MAX_LINE_CHARS = 1000


def cancel(
    target: Target,
    why: Annotated[str, typer.Option(help="The reason, for the record and for the claim's author.")],
    var: Var = Path("var"),
) -> None:
    """Cancel a reproduction, queued or running, or what is to be run for a claim.

    Its worker stops within seconds and goes on with other work. The claims wait until `reprofarm retry`. It writes to
    the farm's database, so it needs the control plane's settings, and is recorded under your user name.
    """
    _intervene(var, lambda database, operator: intervening.cancel(database, target, why, operator))


def retry(
    target: Target,
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "the operator asked for it",
    var: Var = Path("var"),
) -> None:
    """Have a claim that was cancelled, is blocked or failed tried again; of a reproduction, all such claims.

    Other verdicts stand. A claim that failed keeps its verdict and is withdrawn; its entry becomes a new claim.
    """
    _intervene(var, lambda database, operator: intervening.retry(database, target, why, operator))


def reverify(
    target: Annotated[str, typer.Argument(metavar="CLAIM", help="Its id, or the beginning of it.", show_default=False)],
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "the operator asked for it",
    policy: Annotated[Path | None, typer.Option(help="The farm's, as `up` has it; else REPROFARM_POLICY.")] = None,
    var: Var = Path("var"),
) -> None:
    """Have a claim that has its verdict verified again, by a fresh run.

    The old verdict stays in the record and the entry becomes a new claim. Not more often than policy's
    reverify.cooldown_seconds, unless the model or the benchmark changed.
    """

    def act(database: Database, operator: str) -> list[str]:
        rules = read_policy(_settings(var, policy).policy).reverify
        return reverifying.reverify(database, target, why, operator, rules=rules)

    _intervene(var, act)


def _settings(var: Path, policy: Path | None = None) -> Settings:
    plan = Plan(folder=var, api_port=0, policy=policy, operator=dict(os.environ))
    return settings_in(plan.environment_of_control(""))


def _intervene(var: Path, act: Callable[[Database, str], list[str]]) -> None:
    url = make_url(_settings(var).database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise PolicyError(f"there is no farm's database at {url.database}; say with --var where the farm is")
    database = Database(url.render_as_string(hide_password=False))
    try:
        done = act(database, f"operator:{getpass.getuser()}")
    except SQLAlchemyError as error:
        raise PolicyError(f"the farm's database cannot be used: {error}") from error
    finally:
        database.engine.dispose()
    for line in done:
        console().print(shown(line, MAX_LINE_CHARS), soft_wrap=True)
