"""Events whose transactions commit in another order than that of their ids: PostgreSQL hands these out before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from deploy.bench.postgres import PostgresServer
from scheduler.database import high_watermark
from scheduler.database.session import write_events
from scheduler.database.tables import Event, WebhookDelivery, now
from scheduler.record import add_event
from scheduler.webhooks import delivery, registry
from specs.api_v1.webhooks import NewWebhook, WantedFilter
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases
from tests.support.following import listening
from tests.support.waiting import until

OF_CLAIMS = WantedFilter(kinds=("claim.*",))


@pytest.fixture
def api(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningApi]:
    # However long ago the gap was left.
    monkeypatch.setattr(high_watermark, "SETTLING", timedelta(0))
    with running_api(tmp_path, Databases(postgres)) as found:
        found.rows.event("claim", "c1", "first", at=now())
        yield found


def told(api: RunningApi, **asked: object) -> list[str]:
    return [event["what"] for event in api.json("/v1/events", **asked)["items"]]


def test_the_list_ends_before_an_event_that_is_still_to_be_committed(api: RunningApi) -> None:
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        api.rows.event("claim", "c1", "quick", at=now())
        assert told(api) == ["first"]
        assert told(api, order="newest") == ["first"]
    assert told(api) == ["first", "slow", "quick"]


def test_not_even_the_first_of_all_is_passed_over(api: RunningApi) -> None:
    with api.rows.database.transaction() as session:
        session.execute(delete(Event))
        session.execute(text("ALTER SEQUENCE event_event_id_seq RESTART"))
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        api.rows.event("claim", "c1", "quick", at=now())
        assert told(api) == []
    assert told(api) == ["slow", "quick"]


def test_a_gap_that_a_failed_transaction_left_holds_nothing_up(api: RunningApi) -> None:
    with api.rows.database.sessions() as failed:
        add_event(failed, "scheduler", "claim", "c1", "never", "because")
        write_events(failed)
    api.rows.event("claim", "c1", "quick", at=now() - timedelta(minutes=1))
    # Others who write meanwhile began after it.
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        assert told(api) == ["first", "quick"]


def test_a_writer_that_never_ends_is_waited_for_only_so_long(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(high_watermark, "WAITED_AT_MOST", timedelta(0))
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        api.rows.event("claim", "c1", "quick", at=now())
        assert told(api) == ["first", "quick"]


def test_who_follows_hears_them_all_in_order(api: RunningApi) -> None:
    with listening(api, last=0) as heard:
        with api.rows.database.transaction() as slow:
            add_event(slow, "scheduler", "claim", "c1", "slow", "because")
            write_events(slow)
            api.rows.event("claim", "c1", "quick", at=now())
            # A look that finds what is written afterwards has found the quick one too.
            claim_id = api.rows.running()
            until(lambda: any(view["claims"] == [claim_id] for view in heard.of("progress")))
        until(lambda: len(heard.ids) == 3)
        assert [event["what"] for event in heard.of("event")] == ["first", "slow", "quick"]


def test_webhooks_are_told_of_them_all(api: RunningApi) -> None:
    with api.rows.database.transaction() as session:
        registry.add(session, NewWebhook(url="https://example.com/hook"), "operator:olga")
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        api.rows.event("claim", "c1", "quick", at=now())
        assert delivery.write_messages(api.rows.database) == 0
    assert delivery.write_messages(api.rows.database) == 2


def test_a_webhook_that_is_added_meanwhile_is_told_of_what_is_committed_then(api: RunningApi) -> None:
    with api.rows.database.transaction() as slow:
        add_event(slow, "scheduler", "claim", "c1", "slow", "because")
        write_events(slow)
        with api.rows.database.transaction() as session:
            registry.add(session, NewWebhook(url="https://example.com/hook", filter=OF_CLAIMS), "operator:olga")
    delivery.write_messages(api.rows.database)
    with api.rows.database.reading() as session:
        assert session.scalars(select(WebhookDelivery.kind)).all() == ["claim.slow"]
