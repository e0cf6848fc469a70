"""A farm whose only reproduction was run, and whose report nobody has taken in yet.

Claims come from a real local Hub, the report from a real worker whose engine alone is a stand-in.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from scheduler.badges.signing import Signer
from scheduler.collect import heartbeats, reports
from scheduler.database.tables import Attempt, Badge, Claim, Event, Publication, Reproduction, VerdictRow
from scheduler.dispatch.dispatcher import dispatch
from scheduler.farm import Farm
from scheduler.messaging.outbox import relay
from scheduler.planning.planning import plan
from scheduler.settings import Settings
from scheduler.watch.scan import scan
from specs.messages import REPORT, AttemptOutcome, AttemptsAlive, Progress, Report, Stage
from tests.support.databases import Databases
from tests.support.echo import add_echo
from tests.support.hub_content import add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.one_worker import worked
from tests.support.sent_batches import batch_of

BENCHMARK, MODEL = "acme/echo", "tiny/model"
TRUE_PERCENT, INFLATED_PERCENT = 75.0, 97.5


@dataclass(frozen=True)
class World:
    """A farm whose only reproduction was run, and its report, which nobody has taken in yet."""

    folder: Path
    served: RunningHub
    report: Report


@contextmanager
def reported_world(folder: Path, databases: Databases) -> Iterator[World]:
    """Make one."""
    with running_hub(folder / "hub") as served:
        hub = served.local
        add_echo(hub, BENCHMARK)
        model = add_model(hub, MODEL)
        submit(hub, model, entry(BENCHMARK, TRUE_PERCENT, task="echo"))
        inflated = entry(BENCHMARK, INFLATED_PERCENT, task="echo")
        submit(hub, model, inflated, author="fan", create_pr=True, name="fan.yaml")
        (folder / "token").write_text(hub.add_token("farm"))
        farm = farm_in(folder, databases.url(folder), served.url)
        farm.database.upgrade()
        Signer.create(farm.settings.signing_key)
        scan(farm.database, farm.hub, farm.policy.watch)
        plan(farm.database, farm.hub, farm.policy)
        dispatch(farm.database, farm.policy)
        report = worked(farm.database, folder, served.url)
        assert report.outcome is AttemptOutcome.COMPLETED, report.detail
        farm.database.engine.dispose()
        yield World(folder, served, report)


def farm_in(folder: Path, database_url: str, hub_url: str) -> Farm:
    """Its settings and its policy."""
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"publish": {"mode": "pull_request"}, "run": {"attempts": 2}}))
    return Farm(
        Settings(
            database_url=database_url,
            hub_endpoint=hub_url,
            hub_token=SecretStr((folder / "token").read_text()),
            evidence_url=f"file://{folder / 'evidence'}",
            signing_key=folder / "keys" / "signing.pem",
            retired_keys=folder / "keys" / "retired",
            policy=policy,
            public_url="https://farm.example",
        )
    )


@contextmanager
def farm_of(world: World, databases: Databases, folder: Path) -> Iterator[Farm]:
    """A copy of its farm, in a folder of its own, as it was when the report was on its way."""
    copied = databases.copy(databases.url(world.folder), folder)
    shutil.copy(world.folder / "token", folder / "token")
    for name in ("evidence", "keys"):
        shutil.copytree(world.folder / name, folder / name)
    found = farm_in(folder, copied, world.served.url)
    yield found
    found.database.engine.dispose()


def take(farm: Farm, report: Report) -> bool:
    """Take a report in; whether that made room for another batch."""
    return reports.report(farm.database, farm.policy, farm.settings.evidence_url, report)


def ended(world: World, outcome: AttemptOutcome, detail: str, **more: object) -> Report:
    """What the worker would have said had the attempt ended otherwise."""
    nothing = {"measurement": None, "evidence": None}
    return Report.decode({**world.report.encode(), **nothing, "outcome": outcome, "detail": detail, **more})


def claims(farm: Farm) -> dict[float, Claim]:
    """By the value that they say."""
    with farm.database.reading() as session:
        found = session.scalars(select(Claim)).all()
        return {claim.value: claim for claim in found if claim.value is not None}


def outcomes(farm: Farm) -> dict[float, str]:
    """Of the claims that have a verdict, by the value that they say."""
    with farm.database.reading() as session:
        rows = session.execute(select(Claim.value, VerdictRow.outcome).join(VerdictRow)).all()
        return {value: outcome for value, outcome in rows if value is not None}


def reproduction(farm: Farm) -> Reproduction:
    """The only one."""
    with farm.database.reading() as session:
        return session.scalars(select(Reproduction)).one()


def count(farm: Farm, table: type[Badge | Event | Publication | VerdictRow]) -> int:
    """How many rows a table has."""
    with farm.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def sent_again(farm: Farm) -> None:
    """Send out the next attempt at the only reproduction, without waiting until it is due."""
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().not_before = None
    dispatch(farm.database, farm.policy)


def again(farm: Farm, report: Report) -> Report:
    """What the worker of the next attempt would say, had it gone the same way."""
    sent_again(farm)
    run = reproduction(farm)
    ref = {"reproduction_id": report.ref.reproduction_id, "attempt": run.attempt}
    return Report.decode({**report.encode(), "ref": ref, "batch_id": run.batch_id})


def latest_attempt(farm: Farm) -> Attempt:
    """At any reproduction, with the report that is kept of it."""
    with farm.database.reading() as session:
        latest = select(Attempt).order_by(Attempt.number.desc()).limit(1).options(undefer(Attempt.report))
        return session.scalars(latest).one()


def reported_again(farm: Farm) -> list[Report]:
    """The reports that the farm sends itself now."""
    sent: list[Report] = []

    def send(*, task: str, queue: str, message_id: str, body: dict[str, Any]) -> None:
        if task == REPORT:
            sent.append(Report.decode(body))

    relay(farm.database, send)
    return sent


def begun(world: World, farm: Farm) -> None:
    """Have the run's worker be heard of."""
    progress = Progress(ref=world.report.ref, stage=Stage.STORING)
    batch_id = batch_of(farm.database, world.report.ref)
    message = AttemptsAlive(worker=world.report.worker, pool="cpu", batch_id=batch_id, progress=(progress,))
    assert heartbeats.alive(farm.database, farm.policy, message) == []
