"""The `reprofarm` command: one table of its commands, and one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import importlib
import io
import os
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from deploy.cli.terminal import ERROR, INTERRUPTED, PIPE_CLOSED, console, shown
from specs.errors import ReprofarmError
from specs.processes.garbage import collect_rarely
from specs.processes.secrets import Masking, secrets_in

MAX_ERROR_LINES = 60
MAX_LINE_CHARS = 4000

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a full disk: a thing to mend, and no fault of the command's."""

NO_SUCH_PLACE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
"""What it says of a file or folder that somebody named, and that is not there or not theirs."""


@dataclass(frozen=True)
class Place:
    """Where a command is, and what the list of commands says of it.

    Its module is imported only when it is called, so that `reprofarm --help` is quick whatever a command needs.
    """

    module: str
    attribute: str
    summary: str
    extra: str = ""
    """Of the package: without it the command cannot run."""


COMMANDS = {
    "up": Place("deploy.cli.up", "up", "Start the farm on this machine and keep it running."),
    "demo": Place("deploy.cli.demo", "demo", "Run the whole process on made-up claims, up to signed badges.", "demo"),
    "verify": Place("deploy.cli.verify", "verify", "Ask for a model's scores on a benchmark to be verified."),
    "claims": Place("deploy.cli.claims", "claims", "List claims, newest first."),
    "show": Place("deploy.cli.show", "show", "Show one claim or reproduction: how it stands, why, and its history."),
    "logs": Place("deploy.cli.logs", "logs", "Print the events of a claim or a reproduction, and follow them."),
    "reproductions": Place("deploy.cli.reproductions", "reproductions", "List reproductions, newest first."),
    "plan": Place("deploy.cli.plan", "plan", "Predict what judging a claim will cost, before it is run."),
    "approve": Place("deploy.cli.intervene", "approve", "Approve a claim that a budget holds back."),
    "cancel": Place("deploy.cli.intervene", "cancel", "Cancel a reproduction, or the run of a claim."),
    "retry": Place("deploy.cli.intervene", "retry", "Retry a claim that failed, is blocked or was cancelled."),
    "revoke": Place("deploy.cli.intervene", "revoke", "Revoke a badge."),
    "keys": Place("deploy.cli.keys", "app", "Show, create, rotate, retire and revoke signing keys."),
    "reverify": Place("deploy.cli.intervene", "reverify", "Verify a decided claim again, by a fresh run."),
    "workers": Place("deploy.cli.workers", "workers", "List the workers and what they run."),
    "pools": Place("deploy.cli.workers", "pools", "List the pools and what waits and runs in each."),
    "noise": Place("deploy.cli.noise", "noise", "Show how much honest re-runs of a benchmark differ."),
    "policy": Place("deploy.cli.policy", "app", "Show or check the policy, or explain it for a claim."),
    "tokens": Place("deploy.cli.tokens", "app", "Create, list and revoke API tokens."),
    "check": Place("deploy.cli.check", "check", "Check whether a farm can run an eval.yaml or read a result."),
    "verify-token": Place(
        "deploy.cli.verify_token", "verify_token", "Check a badge: its signature, and whether it was revoked."
    ),
    "database": Place("deploy.cli.database", "app", "Migrate the farm's database, or back it up."),
    "hub": Place(
        "deploy.localhub.cli", "app", "Serve a Hub from a folder, and add models and results to it.", "localhub"
    ),
    "doctor": Place(
        "deploy.cli.doctor.command", "doctor", "Say what this machine lacks to run a farm, and how to get it."
    ),
}


class Commands(TyperGroup):
    """The top level, which imports a command when it is called and turns its errors into exit codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Enough of each to list it.
        self.commands = {name: TyperCommand(name, help=place.summary) for name, place in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and _load(str(name)), rest

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line."""
        with _exit_codes():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _exit_codes():
            return super().invoke(ctx)


def _load(name: str) -> Any:
    place = COMMANDS[name]
    try:
        found = getattr(importlib.import_module(place.module), place.attribute)
    except ModuleNotFoundError as error:
        if not place.extra:
            raise
        needed = f"reprofarm {name} needs {error.name}: install reprofarm with its extra `{place.extra}`"
        raise ReprofarmError(needed) from error
    around = typer.Typer(add_completion=False)
    # With a callback it is a group, from which a single command can be taken under its name.
    around.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    group = get_command(around)
    return group.commands[name]  # type: ignore[attr-defined]  # a group, by the callback


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        with _all_said():
            yield
    except typer.Exit:
        raise
    except ReprofarmError as error:
        _print_error(error)
        raise typer.Exit(ERROR) from error
    except typer.TyperException as error:
        # Typer's own code for a wrong command line is 2, which means "could not decide" here.
        if error.exit_code not in (0, ERROR):
            error.exit_code = ERROR
        raise
    except (KeyboardInterrupt, typer.Abort) as error:
        raise typer.Exit(INTERRUPTED) from error
    except SystemExit as error:
        # Typer's own pages are printed by a console of Rich's, which ends so where nobody reads them any more.
        raise typer.Exit(PIPE_CLOSED) from error
    except Exception as error:
        code = _exit_code_of(error) if isinstance(error, OSError) else None
        if code is not None:
            raise typer.Exit(code) from error
        # Python's own code for a crash is 1, which means "mismatch" here.
        print(_masking().mask(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201 - what a crash says
        raise typer.Exit(ERROR) from error


def _exit_code_of(error: OSError) -> int | None:
    """Where the system refuses what is no fault of the command's: the exit code, once it is said; else None."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        _say_no_more()
        return PIPE_CLOSED
    if error.errno in NO_ROOM:
        _say_no_more()
        _print_error(ReprofarmError(f"{error.filename or 'what is to be said'} cannot be written: {error.strerror}"))
        return ERROR
    if error.errno in NO_SUCH_PLACE and error.filename is not None:
        _print_error(ReprofarmError(f"{error.filename}: {error.strerror}"))
        return ERROR
    return None


@contextmanager
def _all_said() -> Iterator[None]:
    """Say what is left before the end: Python would do it later, and speak of a closed pipe in its own words."""
    try:
        yield
    except typer.Exit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    # Whoever starts a command may have closed it before.
    if sys.stdout is not None:
        sys.stdout.flush()


def _say_no_more() -> None:
    """Let what is left to say go nowhere."""
    with suppress(OSError, ValueError):  # It may be no file.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nobody_reads() -> bool:
    """Whether who read standard output has gone, as `head` does when it has enough."""
    look = select.poll()
    try:
        look.register(sys.stdout, 0)
    except (OSError, ValueError):
        # It is no file.
        return False
    return any(said & select.POLLERR for _, said in look.poll(0))


def _masking() -> Masking:
    """What keeps the operator's secrets out of what a command says when it fails."""
    named = {name: value for name, value in os.environ.items() if name.startswith("REPROFARM_")}
    urls = [value for value in named.values() if "://" in value]
    return Masking(secrets_in(urls, [value for name, value in named.items() if name.endswith("_TOKEN")], os.environ))


def _print_error(error: ReprofarmError) -> None:
    # Line by line: an error may end with the last lines of a log.
    lines = _masking().mask(str(error)).splitlines()[:MAX_ERROR_LINES] or [type(error).__name__]
    out = console(stderr=True)
    for number, line in enumerate(lines):
        out.print(
            shown(line, MAX_LINE_CHARS) if number else shown(f"error: {line}", MAX_LINE_CHARS, "red"), soft_wrap=True
        )


app = typer.Typer(name="reprofarm", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("reprofarm"))
        raise typer.Exit


@app.callback()
def reprofarm(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Re-run benchmark scores that were submitted on the Hugging Face Hub, and mark those that could be reproduced.

    Exit codes: 0 done or verified, 1 mismatch, 2 could not decide, 3 error.
    """


def _reach_this_machine() -> None:
    """Have no proxy asked for the API and the Hub of this machine, here or in what is started: it would not reach them.

    Python goes by `no_proxy` where there is `NO_PROXY` too.
    """
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if named != "*":
        # An own address that the operator has the API listen on is where `up` asks for it.
        own = ("127.0.0.1", "::1", "localhost", os.environ.get("REPROFARM_API_HOST"))
        os.environ["no_proxy"] = ",".join(filter(None, (*own, named)))


def main() -> None:
    """The console script."""
    collect_rarely()
    _reach_this_machine()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding has no dashes, and a name may hold bytes that are no text.
            stream.reconfigure(errors="replace")
    app()
