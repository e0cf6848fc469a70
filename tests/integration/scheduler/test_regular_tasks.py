"""What is done regularly goes through no table that grows with the farm, on either kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from deploy.bench import api_rows
from deploy.bench.control_plane import NO_HUB
from deploy.bench.load_rows import add_claims, load_policy
from deploy.bench.paper_hub import PaperHub, serving
from scheduler.api.app import create_app
from scheduler.api.dependencies import Source
from scheduler.api.live.follower import Follower
from scheduler.api.live.listeners import Live
from scheduler.badges import issuing
from scheduler.badges.publications import want_mismatches
from scheduler.badges.revoking import revoke_left_over
from scheduler.badges.signing import Signer
from scheduler.collect import workforce
from scheduler.database.tables import Claim, Model, RevokedKey, Webhook, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.farm import Farm
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.metrics.collector import FarmCollector
from scheduler.planning.planning import plan
from scheduler.publish.due import publish_due
from scheduler.reaping.reaper import reap
from scheduler.requests.comment_commands import take_commands
from scheduler.requests.repeating import repeat_stale
from scheduler.requests.requesting import send_lost_again
from scheduler.settings import Settings
from scheduler.watch import stale_walks, staleness
from scheduler.watch.scan import scan
from scheduler.watch.staleness import mark_stale
from scheduler.webhooks import delivery
from specs.policy.budget import BudgetRules
from specs.policy.publish import PublishRules
from specs.policy.reverify import ReverifyRules
from specs.policy.watch import WatchRules
from tests.support.databases import SQLITE, Databases
from tests.support.plans import NO_SEQUENTIAL_SCANS, watching
from tests.support.queues import EMPTY_QUEUES
from tests.support.scheduler import migrated_database

GROWING = frozenset(
    {
        "claim", "reproduction", "attempt", "verdict", "badge", "publication", "event", "noise", "model", "result_file",
        "thread", "heard_comment", "webhook_delivery",
    }
)  # fmt: skip

COUNTS = ("SELECT claim.state, count(*)", "SELECT verdict.outcome, count(*)")
"""Over whole tables, and taken no oftener than they are worth: scheduler/api/live/count_cache.py."""

FITS_NOTHING = [
    *(f"/v1/{of}?{name}=none" for of in ("claims", "verdicts", "points") for name in ("model", "dataset", "task")),
    "/v1/claims?submitter=none",
    "/v1/events?subject_id=none",
    "/v1/events?subject_id=none&order=newest",
    "/audit?subject_id=none",
]

CLAIMS = 2000
RULES = ReverifyRules(after_days=30, on_change=True)
POLICY = load_policy(reverify=RULES, budget=BudgetRules(gpu_seconds_per_day=1e9), publish=PublishRules(mode="comment"))


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[Farm]:
    with a_farm(tmp_path, databases) as found:
        yield found


@contextmanager
def a_farm(tmp_path: Path, databases: Databases, options: str = NO_SEQUENTIAL_SCANS) -> Iterator[Farm]:
    database = migrated_database(tmp_path, databases)
    api_rows.fill(database, CLAIMS, 50)
    add_claims(database, 20)
    with database.transaction() as session:
        session.execute(update(Model).values(looked_at=now()))
        session.add(RevokedKey(key_id="gone", revoked_reason="lost", actor="test"))
        session.add(Webhook(url="http://127.0.0.1:9/", secret="whsec_", created_by="test"))
    url = database.url if database.is_sqlite else database.url + options
    database.engine.dispose()
    key = tmp_path / "signing.pem"
    Signer.create(key)
    found = Farm(Settings(database_url=url, signing_key=key, hub_endpoint=NO_HUB))
    yield found
    found.database.engine.dispose()


def rounds(farm: Farm, address: str) -> dict[str, list[Callable[[], object]]]:
    """One round of each task, by its name in scheduler/schedule.py or its place."""
    database, hub, watched = farm.database, Hub(NO_HUB, None, 1), Hub(address, None, 10)
    missing = issuing.Missing(farm)
    metrics = FarmCollector(database, POLICY)
    follower = Follower(database, 1, Live(10))

    def begin_to_sign() -> None:
        begun = issuing.Missing(farm)
        # A process that begins may look at all verdicts once, and at no more than that.
        begun._none_left_at = now()
        begun.sign()

    def look() -> None:
        with database.reading() as session:
            follower._look(session, "", lambda _messages, _last: None)

    return {
        "scan": [lambda: scan(database, watched, WatchRules())],
        "plan": [lambda: plan(database, hub, POLICY)],
        "dispatch": [lambda: dispatch(database, POLICY), lambda: outbox.relay(database, lambda **_: None)],
        "reap": [lambda: reap(database, POLICY, *EMPTY_QUEUES)],
        "publish": [
            missing.sign,
            begin_to_sign,
            lambda: revoke_left_over(database),
            lambda: want_mismatches(database, POLICY.publish),
            lambda: publish_due(farm),
        ],
        "tell": [lambda: delivery.any_webhook(database), lambda: delivery.write_messages(database)],
        "tidy": [
            lambda: outbox.tidy(database),
            lambda: workforce.tidy(database),
            lambda: workforce.own_queues(database),
            lambda: delivery.forget_old(database),
        ],
        "reverify": [
            lambda: send_lost_again(database),
            lambda: mark_stale(database, POLICY),
            lambda: repeat_stale(database, RULES),
        ],
        "comments": [lambda: take_commands(farm)],
        "metrics": [lambda: list(metrics.collect())],
        "follower": [look],
    }


def test_no_regular_task_goes_through_a_table_that_grows(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(PaperHub(2, 3)) as address:
        tasks = rounds(farm, address)
        # A process that begins may look at everything once.
        for steps in tasks.values():
            for step in steps:
                step()
        # Small beside the table, as a page is in a farm of some size.
        monkeypatch.setattr(stale_walks, "PAGE", 5)
        monkeypatch.setattr(staleness, "SWEPT_AT_ONCE", 5)
        monkeypatch.setattr(staleness, "LOOKED_AT_ONCE", 50)
        found = {}
        for name, steps in tasks.items():
            with watching(farm.database, GROWING) as scans:
                for step in steps:
                    step()
            assert scans.explained, name
            found[name] = scans.found
    assert {name: scans for name, scans in found.items() if scans} == {}


def test_what_was_asked_for_lately_is_found_by_when_it_was_however_it_is_joined(
    tmp_path: Path, databases: Databases
) -> None:
    # PostgreSQL takes it all at once where it expects many stale claims, which is by how its statistics came out.
    with a_farm(tmp_path, databases, f"{NO_SEQUENTIAL_SCANS}%20-c%20enable_nestloop%3Doff") as farm:
        mark_stale(farm.database, POLICY)
        with watching(farm.database, frozenset({"claim"})) as scans:
            assert repeat_stale(farm.database, RULES) > 0
    assert [each for each in scans.found if "ORDER BY claim.stale_since" in each[1]] == []


def test_no_page_goes_through_a_table_that_grows(tmp_path: Path) -> None:
    # On SQLite, which takes an index wherever one fits; PostgreSQL walks the newest where it expects enough among them.
    with a_farm(tmp_path, SQLITE) as farm:
        assert scans_for(farm, [*addresses(), *FITS_NOTHING]) == {}


def test_a_filter_that_nothing_fits_goes_through_no_table_that_grows(farm: Farm) -> None:
    # Anybody may ask for one after another, and no answer to another is any of them.
    with farm.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    assert scans_for(farm, FITS_NOTHING) == {}


@pytest.mark.parametrize("named", ["model_id", "dataset_id", "submitter"])
def test_claims_on_a_task_are_looked_for_among_those_of_what_is_named_with_it(tmp_path: Path, named: str) -> None:
    # SQLite's rule alone: PostgreSQL knows how many have a task of that name.
    wanted = select(Claim.claim_id).where(Claim.task_id == "default", getattr(Claim, named) == "a")
    newest = wanted.order_by(Claim.created_at.desc(), Claim.claim_id.desc()).limit(50)
    with migrated_database(tmp_path, SQLITE).reading() as session:
        asked = newest.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        (line,) = session.execute(text(f"EXPLAIN QUERY PLAN {asked}"))
    assert f"({named}=?)" in line.detail


def scans_for(farm: Farm, asked: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Whole tables that are gone through for an address, with the statements; nothing of those with none."""
    found = {}
    with TestClient(create_app(farm.settings)) as client:
        for address in asked:
            with watching(source_of(client).database, GROWING) as scans:
                assert client.get(address).status_code == 200, address
            found[address] = [each for each in scans.found if not each[1].startswith(COUNTS)]
    return {address: scans for address, scans in found.items() if scans}


def source_of(client: TestClient) -> Source:
    app = client.app
    assert isinstance(app, FastAPI)
    source: Source = app.state.source
    return source


def addresses() -> list[str]:
    claim, run = api_rows.claim_id(1), api_rows.digest("run", 1)[:32]
    asked = ("", "?model=m/1", "?dataset=b/1", "?submitter=user1", "?state=blocked", "?outcome=mismatch")
    return [
        *(f"/v1/claims{query}" for query in asked),
        f"/v1/claims/{claim}",
        f"/v1/claims/{claim[:12]}",
        f"/v1/reproductions/{run}",
        "/v1/reproductions",
        "/v1/reproductions?state=running",
        "/v1/verdicts",
        "/v1/verdicts?outcome=mismatch",
        "/v1/events?order=newest",
        f"/v1/events?subject=claim&subject_id={claim}",
        "/v1/revocations",
        "/feeds/models/m/1.atom",
        "/feeds/benchmarks/b/1.atom",
        "/feeds/namespaces/m.atom",
        "/badges/m/1/b/1/default.svg",
        "/",
        "/claims",
        f"/claims/{claim}",
        "/audit",
    ]
