"""The database is lost, and what was backed up is put in its place: the farm goes on, and says nothing twice.

The story is told once on each kind of database. Between backup and loss the farm gives verdicts, signs badges and opens
pull requests: the restored database knows of none of them, and the Hub shows them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from deploy.bench.postgres import postgres_programs
from deploy.cli.main import app
from deploy.localhub.names import RepoName, RepoType
from scheduler.badges.revoking import revoke
from scheduler.badges.signing import public_jwks
from scheduler.collect.heartbeats import Stale, alive
from scheduler.database.tables import Badge, Claim, Publication, VerdictRow
from scheduler.farm import Farm
from scheduler.state_machine import ClaimState
from specs.attestation import verify
from specs.hub.eval_results import parse
from specs.messages import AttemptRef, AttemptsAlive, Progress, Stage
from tests.support.databases import Databases
from tests.support.deciding import complete
from tests.support.hub_content import add_model, entry, submit
from tests.support.publishing_farm import OWN, Publishing, publishing_farm
from tests.support.sent_batches import batch_of

MODELS = ("tiny/model", "tiny/later")


@dataclass(frozen=True)
class Facts:
    """What the farm holds, and what it has written on the Hub."""

    claims: dict[str, str]
    """Outcome by claim, of those that are decided."""

    badges: dict[str, str]
    """Badge by claim."""

    threads: dict[str, list[tuple[int, str]]]
    """Number and title of what the farm opened, by model."""

    comments: list[str]
    """What it said on the pull request that is a claim."""


@dataclass(frozen=True)
class Story:
    """Before the loss and after it."""

    publishing: Publishing
    before: Facts
    restored: Facts
    after: Facts
    stale: list[Stale]
    """What a worker of before is told to drop, when it speaks to the restored farm."""


def back_up(farm: Farm, file: Path) -> None:
    """As docs/operations.md has it."""
    url = make_url(farm.settings.database_url)
    if farm.database.is_sqlite:
        done = CliRunner().invoke(
            app, ["database", "backup", str(file)], env={"REPROFARM_DATABASE_URL": farm.settings.database_url}
        )
        assert done.exit_code == 0, done.output
    else:
        run_postgres("pg_dump", "--format=custom", f"--file={file}", str(url.database), host=str(url.query["host"]))


def lose_and_restore(farm: Farm, file: Path) -> Farm:
    """Throw the database away and put the copy in its place; the farm that finds it."""
    url = make_url(farm.settings.database_url)
    farm.database.engine.dispose()
    name = str(url.database)
    if farm.database.is_sqlite:
        for part in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(name + part).unlink()
        Path(name).write_bytes(file.read_bytes())
    else:
        host = str(url.query["host"])
        with psycopg.connect(host=host, user="farm", dbname="postgres", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        run_postgres("pg_restore", "--exit-on-error", f"--dbname={name}", str(file), host=host)
    found = Farm(farm.settings)
    # Harmless where the copy is of this version.
    found.database.upgrade()
    return found


def run_postgres(program: str, *arguments: str, host: str) -> None:
    folder = postgres_programs()
    assert folder is not None
    environment = {**os.environ, "PGHOST": host, "PGUSER": "farm"}
    subprocess.run([str(folder / program), *arguments], check=True, env=environment, timeout=300)


def facts(publishing: Publishing) -> Facts:
    with publishing.farm.database.reading() as session:
        verdicts = session.execute(select(VerdictRow.claim_id, VerdictRow.outcome)).all()
        badges = session.execute(select(Badge.claim_id, Badge.badge_id)).all()
    hub = publishing.user("reader")
    opened = {
        model: [(each.num, each.title) for each in hub.get_repo_discussions(model) if each.author == OWN]
        for model in MODELS
        if hub.repo_exists(model)
    }
    return Facts(
        claims={each: str(outcome) for each, outcome in verdicts},
        badges=dict(badges),
        threads=opened,
        comments=publishing.said(1),
    )


def go_on(publishing: Publishing) -> None:
    """Scan, plan, run and publish until nothing is left to do."""
    publishing.scan()
    publishing.plan()
    while open_claims(publishing.farm):
        complete(publishing.farm, 100)
    publishing.publish()


def open_claims(farm: Farm) -> int:
    with farm.database.reading() as session:
        return session.scalar(select(func.count()).where(Claim.live, Claim.state == ClaimState.PLANNED)) or 0


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("restored")
    policy = {"publish": {"mode": "pull_request"}}
    with publishing_farm(folder, databases, **policy) as publishing:
        back_up(publishing.farm, folder / "backup")
        # Half of the answers are right: the claim of 50 is verified, the fan's of 90 is not.
        go_on(publishing)
        hub = publishing.served.local
        submit(hub, add_model(hub, "tiny/later", b"other weights"), entry("acme/bench", 50))
        go_on(publishing)
        before = facts(publishing)
        run = publishing.living()[50].reproduction_id
        assert run is not None
        batch = batch_of(publishing.farm.database, AttemptRef(reproduction_id=run, attempt=1))
        publishing.farm = lose_and_restore(publishing.farm, folder / "backup")
        restored = facts(publishing)
        word = AttemptsAlive(
            worker="cpu@before",
            batch_id=batch,
            pool="cpu",
            progress=(Progress(ref=AttemptRef(reproduction_id=run, attempt=1), stage=Stage.RUNNING),),
        )
        stale = alive(publishing.farm.database, publishing.farm.policy, word)
        go_on(publishing)
        yield Story(publishing, before, restored, facts(publishing), stale)
        publishing.farm.database.engine.dispose()


def test_the_drill_loses_something_to_begin_with(story: Story) -> None:
    assert len(story.before.claims) == 3
    assert len(story.before.badges) == 2
    assert {model: len(opened) for model, opened in story.before.threads.items()} == dict.fromkeys(MODELS, 1)
    assert (story.restored.claims, story.restored.badges) == ({}, {})


def test_every_claim_has_the_id_that_it_had_and_one_verdict(story: Story) -> None:
    assert story.after.claims == story.before.claims


def test_no_claim_gets_a_second_badge(story: Story) -> None:
    assert story.after.badges == story.before.badges


def test_nothing_is_written_on_the_hub_a_second_time(story: Story) -> None:
    assert story.after.threads == story.before.threads
    assert story.after.comments == story.before.comments
    with story.publishing.farm.database.reading() as session:
        states = session.scalars(select(Publication.state)).all()
    assert set(states) == {"published"}


def test_a_badge_that_the_farm_had_forgotten_can_be_revoked(story: Story) -> None:
    farm = story.publishing.farm
    ((number, _),) = story.before.threads["tiny/later"]
    repo = RepoName(RepoType.MODEL, "tiny/later")
    # What the pull request of before the loss adds, which the database does not have word for word any more.
    text = story.publishing.served.local.read_file(repo, ".eval_results/results.yaml", f"refs/pr/{number}")
    (found,) = [each.claim for each in parse(text).entries if each.claim is not None]
    assert found.verify_token is not None
    badge_id = verify(found.verify_token, dict(public_jwks(farm.settings))).jti
    revoke(farm.database, badge_id, "a drill", "operator:test")
    with farm.database.reading() as session:
        revoked = session.scalars(select(Badge).where(Badge.revoked_at.is_not(None))).all()
    assert [each.badge_id for each in revoked] == [badge_id]
    assert revoked[0].token != found.verify_token, "the farm has signed anew, under the same id"


def test_a_worker_of_before_the_loss_is_told_to_drop_what_it_runs(story: Story) -> None:
    assert [(each.worker, each.ref.attempt) for each in story.stale] == [("cpu@before", 1)]
