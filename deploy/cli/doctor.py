"""`reprofarm doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.cli import machine_checks, service_checks
from deploy.cli.finding import Finding
from deploy.cli.terminal import ERROR, OK, console, print_json, shown
from scheduler.settings import Settings, read_settings

VAR = Path("var")
STYLES = {"ok": "green", "warn": "yellow", "missing": "red"}


class Role(StrEnum):
    """What the machine is to be."""

    ALL = "all"
    """Everything on one machine."""

    CONTROL = "control"
    WORKER = "worker"


CONTROL_CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "redis": service_checks.broker,
    "database": service_checks.database,
    "policy": service_checks.policy,
    "signing key": service_checks.signing_key,
    "hub token": service_checks.hub_token,
}

SHARED_CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "evidence store": service_checks.evidence,
    "hub": service_checks.hub,
    "disk": lambda _: machine_checks.disk(VAR),
}

WORKER_CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "engine": lambda _: machine_checks.engine(),
    "system": lambda _: machine_checks.engine_system(),
    "torch": lambda _: machine_checks.torch(),
    "lighteval": lambda _: machine_checks.lighteval(),
    "gpu": lambda _: machine_checks.gpu(),
}

DEMO_CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "demo model": lambda _: machine_checks.demo_weights(),
}

CHECKS = {
    Role.ALL: CONTROL_CHECKS | SHARED_CHECKS | WORKER_CHECKS | DEMO_CHECKS,
    Role.CONTROL: CONTROL_CHECKS | SHARED_CHECKS,
    Role.WORKER: SHARED_CHECKS | WORKER_CHECKS,
}


def doctor(
    role: Annotated[Role, typer.Option("--for", help="What this machine is to be.")] = Role.ALL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine lacks to run a farm, and how to get it.

    Looks at what the settings (`REPROFARM_…`) name. Exit code: 0 nothing that is needed is missing, 3 something is.
    With --json: a list of {"name", "status": "ok"|"warn"|"missing", "found", "remedy"}.
    """
    settings = read_settings()
    findings = {"python": machine_checks.python()}
    findings |= {name: check(settings) for name, check in CHECKS[role].items()}
    if as_json:
        print_json([{"name": name, **asdict(finding)} for name, finding in findings.items()])
    else:
        _print(console(), findings)
    missing = any(finding.status == "missing" for finding in findings.values())
    raise typer.Exit(ERROR if missing else OK)


def _print(out: Console, findings: dict[str, Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, finding in findings.items():
        table.add_row(shown(finding.status, style=STYLES[finding.status]), name, shown(finding.found, 600))
        if finding.remedy:
            table.add_row("", "", shown(f"→ {finding.remedy}", 600, style="dim"))
    out.print(table)
    missing = [name for name, finding in findings.items() if finding.status == "missing"]
    out.print(f"missing: {', '.join(missing)}" if missing else "nothing that is needed is missing")
