"""`reprofarm doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.cli.doctor import machine, services
from deploy.cli.doctor.finding import Finding
from deploy.cli.options import DEFAULT_VAR, AsJson, HubUrl, PolicyFile, Var
from deploy.cli.terminal import ERROR, OK, console, print_json, shown
from deploy.farm.environments import Plan, settings_in
from scheduler.settings import PREFIX, Settings
from specs.policy.pools import PoolRules
from workers.settings import PREFIX as WORKER_PREFIX
from workers.settings import WorkerSettings, read_settings

STYLES = {"ok": "green", "warn": "yellow", "missing": "red"}


class Role(StrEnum):
    """What the machine is to be."""

    ALL = "all"
    """Everything on one machine."""

    CONTROL = "control"
    WORKER = "worker"


def doctor(
    role: Annotated[Role, typer.Option("--for", help="What this machine is to be.")] = Role.ALL,
    var: Var = DEFAULT_VAR,
    policy: PolicyFile = None,
    hub: HubUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine lacks to run a farm, and how to get it.

    Looks at what the options and the settings (`REPROFARM_…`; of a worker `REPROFARM_WORKER_…`) name. Exit code: 0
    nothing that is needed is missing, 3 something is. With --json: a list of {"name", "status": "ok"|"warn"|"missing",
    "found", "remedy"}.
    """
    findings = {"python": machine.python(), "settings": services.settings(os.environ)}
    if role is Role.WORKER:
        findings |= _for_worker(read_settings())
        # A worker alone has no policy to look at.
        gpu_pools, eager = None, False
    else:
        plan = Plan(folder=var, api_port=0, hub_endpoint=hub, policy=policy, operator=dict(os.environ))
        told = plan.environment_of_control("", writes_to_hub=True)
        # `up` says where its API listens; processes that are started otherwise read it.
        told |= {name: os.environ[name] for name in (f"{PREFIX}API_PORT",) if name in os.environ}
        settings = settings_in(told)
        of_up = role is Role.ALL
        pools = services.pools(settings, of_up=of_up)
        findings |= _for_control(settings, var, pools, of_up=of_up)
        if of_up:
            findings["memory"] = services.memory(settings, pools)
        gpu_pools = None if pools is None else [pool.name for pool in pools if pool.device == "gpu"]
        eager = services.eager(settings)
    if role is not Role.CONTROL:
        findings |= _to_run_models(gpu_pools, eager=eager)
    if role is Role.ALL:
        findings["demo model"] = machine.demo_weights()
    if as_json:
        print_json([{"name": name, **asdict(finding)} for name, finding in findings.items()])
    else:
        _print(console(), findings)
    missing = any(finding.status == "missing" for finding in findings.values())
    raise typer.Exit(ERROR if missing else OK)


def _for_control(
    found: Settings, folder: Path, pools: Sequence[PoolRules] | None, *, of_up: bool
) -> dict[str, Finding]:
    """Of the control plane, whose `folder` is on this machine."""
    named = {name: PREFIX + name for name in ("BROKER_URL", "HUB_ENDPOINT", "HUB_TOKEN", "EVIDENCE_URL")}
    broker_url = found.broker_url.get_secret_value()
    return {
        "redis": services.broker(broker_url, named["BROKER_URL"]) if broker_url else services.own_broker(),
        "database": services.database(found),
        "policy": services.policy(found, pools),
        "judges": services.judges(found, os.environ),
        "signing key": services.signing_key(found, of_up=of_up),
        "hub": services.hub(found.hub_endpoint, named["HUB_ENDPOINT"]),
        "hub token": services.hub_token(found.hub_token, found.hub_endpoint, named["HUB_TOKEN"]),
        # Workers write there.
        "evidence store": services.evidence(found.evidence_url, named["EVIDENCE_URL"], writes=False),
        "disk": machine.disk(folder),
    }


def _for_worker(found: WorkerSettings) -> dict[str, Finding]:
    """Of a worker alone, which has settings of its own."""
    named = {name: WORKER_PREFIX + name for name in ("BROKER_URL", "HUB_ENDPOINT", "HUB_TOKEN", "EVIDENCE_URL")}
    return {
        "redis": services.broker(found.broker_url.get_secret_value(), named["BROKER_URL"]),
        "hub": services.hub(found.hub_endpoint, named["HUB_ENDPOINT"]),
        "hub token": services.hub_token(found.hub_token, found.hub_endpoint, named["HUB_TOKEN"]),
        "evidence store": services.evidence(found.evidence_url, named["EVIDENCE_URL"], writes=True),
        "disk": machine.disk(found.cache_folder),
    }


def _to_run_models(gpu_pools: list[str] | None, *, eager: bool) -> dict[str, Finding]:
    return {
        "engine": machine.engine(),
        "system": machine.engine_system(eager=eager),
        "torch": machine.torch(),
        "lighteval": machine.lighteval(),
        "gpu": machine.gpu(gpu_pools),
    }


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
