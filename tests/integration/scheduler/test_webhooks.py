"""Others are told of what happens: once each, signed, and again until they take it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook as Standard
from standardwebhooks import WebhookVerificationError

from deploy.serving import QuietHandler, answered_by
from scheduler.database.tables import Webhook, WebhookDelivery, now
from scheduler.metrics import collector
from scheduler.webhooks import delivery, registry, sending
from specs.api_v1.webhooks import NewWebhook, WantedFilter
from specs.policy.rules import Policy
from tests.support.broken_tls import broken_tls
from tests.support.databases import ON_BOTH, at_once, mostly_sqlite
from tests.support.receiver import Receiver, receiving
from tests.support.rows import Rows
from tests.support.tls_server import answered_over_tls

databases = mostly_sqlite


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def added(rows: Rows, url: str, **chosen: Any) -> Webhook:
    wanted = NewWebhook(url=url, filter=WantedFilter.model_validate(chosen))
    with rows.database.transaction() as session:
        return registry.add(session, wanted, "operator:olga")


def one_round(rows: Rows, *, private: bool = True) -> int:
    delivery.write_messages(rows.database)
    return delivery.send_due(rows.database, private=private)


def deliveries(rows: Rows) -> list[WebhookDelivery]:
    with rows.database.reading() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.created_at)))


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in receiver.got]


def test_an_event_is_told_once_with_what_it_is_about_and_a_signature(rows: Rows, receiver: Receiver) -> None:
    claim_id = rows.claim("tiny/model")
    rows.event("claim", claim_id, "submitted", "before anybody wanted to know")
    webhook = added(rows, receiver.url, kinds=["claim.*"])
    rows.event("claim", claim_id, "decided", "verified: it is so")
    assert [one_round(rows), one_round(rows)] == [1, 0]
    ((headers, body),) = receiver.got
    message = Standard(webhook.secret).verify(body, headers)
    assert message["type"] == "claim.decided"
    about = {"claim_id": claim_id, "model": "tiny/model", "dataset": "acme/capitals", "task": "europe"}
    assert about.items() <= message["data"].items()
    assert message["data"]["why"] == "verified: it is so"
    with pytest.raises(WebhookVerificationError):
        Standard(webhook.secret).verify(body.replace(b"verified", b"mismatch"), headers)
    (sent,) = deliveries(rows)
    assert (sent.status, sent.tries, sent.due_at) == (200, 1, None)
    assert sent.delivered_at is not None


def test_filters_choose_by_kind_model_and_benchmark(rows: Rows, receiver: Receiver) -> None:
    added(rows, receiver.url, kinds=["claim.decided", "reproduction.*"], model="tiny/model", dataset="acme/capitals")
    mine, other = rows.planned("tiny/model"), rows.claim("other/model")
    elsewhere = rows.claim("tiny/model", dataset_id="acme/rivers")
    for claim_id in (mine, other, elsewhere):
        rows.event("claim", claim_id, "decided", claim_id)
        rows.event("claim", claim_id, "planned")
    rows.event("reproduction", rows.run_of(mine), "running", "run")
    rows.event("benchmark", "acme/capitals", "revision")
    one_round(rows)
    assert {message["data"]["why"] for message in told(receiver)} == {mine, "run"}


@ON_BOTH
def test_one_that_is_refused_comes_again_under_the_same_id_after_a_while(
    rows: Rows, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Five seconds may be over before the next look.
    monkeypatch.setattr(delivery, "DELAYS", (timedelta(hours=1),) * len(delivery.DELAYS))
    added(rows, receiver.url)
    receiver.statuses[:] = [500, 302]
    rows.event("claim", rows.claim(), "decided")
    for tries, status in enumerate((500, 302), start=1):
        assert one_round(rows) == 0
        (sent,) = deliveries(rows)
        assert (sent.tries, sent.status, sent.detail) == (tries, status, "no, thanks")
        assert sent.due_at is not None
        assert sent.due_at > now()
        assert one_round(rows) == 0
        with rows.database.transaction() as session:
            session.get_one(WebhookDelivery, sent.delivery_id).due_at = now()
    assert one_round(rows) == 1
    # The redirect was not followed.
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


@ON_BOTH
def test_it_is_given_up_after_the_last_try_or_at_once_where_the_receiver_says_so(
    rows: Rows, receiver: Receiver
) -> None:
    added(rows, receiver.url)
    receiver.statuses[:] = [500] * (len(delivery.DELAYS) + 1)
    rows.event("claim", rows.claim(), "decided")
    for _ in range(len(delivery.DELAYS) + 1):
        one_round(rows)
        with rows.database.transaction() as session:
            for row in session.scalars(select(WebhookDelivery).where(WebhookDelivery.due_at.is_not(None))):
                row.due_at = now() - timedelta(seconds=1)
    (sent,) = deliveries(rows)
    assert (sent.tries, sent.due_at) == (len(delivery.DELAYS) + 1, None)
    receiver.statuses[:] = [410]
    rows.event("claim", rows.claim(), "decided")
    one_round(rows)
    assert [row.due_at for row in deliveries(rows)] == [None, None]


def test_nothing_is_sent_to_this_machine_unless_that_is_allowed(rows: Rows, receiver: Receiver) -> None:
    added(rows, receiver.url)
    rows.event("claim", rows.claim(), "decided")
    assert one_round(rows, private=False) == 0
    assert receiver.got == []
    assert "not on the public internet" in deliveries(rows)[0].detail


def test_one_that_is_away_holds_up_nobody(rows: Rows, receiver: Receiver) -> None:
    added(rows, "http://127.0.0.1:9/hook")
    added(rows, receiver.url)
    rows.event("claim", rows.claim(), "decided")
    assert one_round(rows) == 1
    assert len(receiver.got) == 1


@ON_BOTH
def test_one_that_is_behind_takes_nobodys_turn(rows: Rows, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SENT_AT_ONCE", 2)
    added(rows, "http://127.0.0.1:9/hook", kinds=["claim.blocked"])
    added(rows, receiver.url, kinds=["claim.decided"])
    for what in ("blocked", "blocked", "blocked", "decided"):
        rows.event("claim", rows.claim(), what)
    assert one_round(rows) == 1
    assert len(receiver.got) == 1


def test_one_that_was_removed_is_told_no_more(rows: Rows, receiver: Receiver) -> None:
    webhook = added(rows, receiver.url)
    rows.event("claim", rows.claim(), "decided")
    delivery.write_messages(rows.database)
    with rows.database.transaction() as session:
        assert registry.remove(session, webhook.webhook_id, "operator:olga")
    rows.event("claim", rows.claim(), "decided")
    assert one_round(rows) == 0
    assert receiver.got == []
    assert not delivery.any_webhook(rows.database)


def test_what_one_that_was_removed_left_behind_takes_nobodys_turn(
    rows: Rows, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SENT_AT_ONCE", 1)
    removed = added(rows, receiver.url)
    with rows.database.transaction() as session:
        # Entered by another process at the moment of its removal.
        left = registry.send_test(session, removed.webhook_id, "operator:olga")
        session.get_one(Webhook, removed.webhook_id).enabled = False
    added(rows, receiver.url)
    rows.event("claim", rows.claim(), "decided")
    assert left is not None
    assert one_round(rows) == 1
    assert len(receiver.got) == 1


@ON_BOTH
def test_two_control_workers_write_each_message_once(rows: Rows, receiver: Receiver) -> None:
    added(rows, receiver.url, kinds=["claim.decided"])
    for _ in range(20):
        rows.event("claim", rows.claim(), "decided")
    at_once(lambda: delivery.write_messages(rows.database))
    assert len(deliveries(rows)) == 20


@ON_BOTH
def test_the_log_is_forgotten_after_a_while_but_nothing_that_waits(rows: Rows, receiver: Receiver) -> None:
    added(rows, receiver.url)
    receiver.statuses[:] = [200, 500]
    for _ in range(2):
        rows.event("claim", rows.claim(), "decided")
        one_round(rows)
    with rows.database.transaction() as session:
        for row in session.scalars(select(WebhookDelivery)):
            row.created_at = now() - delivery.KEPT * 2
    delivery.forget_old(rows.database)
    assert [row.status for row in deliveries(rows)] == [500]


def test_all_that_is_old_enough_is_forgotten_however_much_it_is(
    rows: Rows, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FORGOTTEN_AT_ONCE", 2)
    added(rows, receiver.url)
    for _ in range(5):
        rows.event("claim", rows.claim(), "decided")
    one_round(rows)
    with rows.database.transaction() as session:
        for row in session.scalars(select(WebhookDelivery)):
            row.created_at = now() - delivery.KEPT * 2
    assert len(deliveries(rows)) == 5
    delivery.forget_old(rows.database)
    assert deliveries(rows) == []


def test_a_receiver_that_drips_holds_up_nobody_for_long(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WHOLE_SECONDS", 0.3)
    over = threading.Event()

    class Dripping(QuietHandler):
        def do_POST(self) -> None:
            # A header that never ends, each byte of it well within the time that one may take.
            while not over.wait(0.02):
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return

    with answered_by(Dripping) as url:
        added(rows, f"{url}/hook")
        rows.event("claim", rows.claim("tiny/model"), "decided", "verified")
        try:
            assert one_round(rows) == 0
        finally:
            over.set()
    (sent,) = deliveries(rows)
    assert (sent.tries, sent.detail) == (1, "no whole answer within 0.3 s")


@ON_BOTH
def test_one_that_hangs_is_tried_once_a_round_and_others_are_told_all_meanwhile(
    rows: Rows, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SENT_AT_ONCE", 4)
    monkeypatch.setattr(delivery, "HANGS_SECONDS", 0)
    monkeypatch.setattr(delivery, "STALLED_SECONDS", 0.05)
    told_all = 10

    class Hanging(QuietHandler):
        def do_POST(self) -> None:
            until = time.monotonic() + 15
            while len(receiver.got) < told_all and time.monotonic() < until:
                time.sleep(0.02)

    with answered_by(Hanging) as url:
        hanging = added(rows, f"{url}/hook", kinds=["claim.*"])
        added(rows, receiver.url, kinds=["claim.*"])
        for _ in range(told_all):
            rows.event("claim", rows.claim(), "decided")
        assert one_round(rows) == told_all
    assert len(receiver.got) == told_all
    mine = [row for row in deliveries(rows) if row.webhook_id == hanging.webhook_id]
    assert sorted(row.tries for row in mine) == [0] * (told_all - 1) + [1]
    figures = collector.registry(rows.database, Policy())
    assert figures.get_sample_value("reprofarm_webhook_messages_waiting") == told_all
    # They come in the next round.
    assert all(row.due_at is not None and row.due_at <= now() for row in mine if not row.tries)


def test_one_that_begins_to_hang_is_left_alone_for_the_round(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "AT_THE_SAME_TIME", 1)
    monkeypatch.setattr(delivery, "HANGS_SECONDS", 0)
    asked: list[str] = []

    class Tiring(QuietHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            if len(asked) == 1:
                self.answer(200, b"")

    with answered_by(Tiring) as url:
        added(rows, f"{url}/hook")
        for _ in range(5):
            rows.event("claim", rows.claim(), "decided")
        assert one_round(rows) == 1
    assert sorted(row.tries for row in deliveries(rows)) == [0, 0, 0, 1, 1]


def test_a_receiver_is_trusted_whose_authority_the_operator_trusts(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taking(QuietHandler):
        def do_POST(self) -> None:
            self.answer(200, b"")

    # Read anew, as by a process that starts with these authorities.
    monkeypatch.setattr(sending, "_trusted", sending._trusted.__wrapped__)
    with answered_over_tls(Taking, tmp_path) as url:
        added(rows, f"{url}/hook")
        rows.event("claim", rows.claim(), "decided")
        taken = one_round(rows)
    (sent,) = deliveries(rows)
    assert (taken, sent.status, sent.detail) == (1, 200, "")


def test_an_answer_that_breaks_off_its_tls_is_a_failed_try(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken_tls(tmp_path) as (url, trusting):
        monkeypatch.setattr("httpx2._transports.default.create_ssl_context", lambda **_: trusting)
        added(rows, url)
        rows.event("claim", rows.claim("tiny/model"), "decided", "verified")
        assert one_round(rows) == 0
    (sent,) = deliveries(rows)
    assert (sent.tries, sent.status) == (1, None)
    assert sent.detail.startswith("SSLError: ")
    assert sent.due_at is not None
    assert sent.due_at > now()
