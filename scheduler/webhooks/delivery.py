"""Delivery of webhooks: from the record to messages, and from those to their receivers. Each is a task of its own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from scheduler.database.high_watermark import settled_after, young_since
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Claim, Event, Reproduction, Webhook, WebhookDelivery, now
from scheduler.webhooks.messages import message
from scheduler.webhooks.sending import WHOLE_SECONDS, Tried, send
from specs.api_v1.webhooks import WebhookFilter
from specs.messages import said

EVENTS_AT_ONCE = 500
SENT_AT_ONCE = 64
AT_THE_SAME_TIME = 16

HANGS_SECONDS = 2.0
"""A try that took longer and got no answer has hung: the next one to the same receiver may take as long."""

STALLED_SECONDS = 1.0
"""When for so long no try came to an end, those under way may be of receivers that hang."""

WAITING_AT_MOST = 10_000
"""Messages to one webhook that wait; while there are so many, it is told of nothing else. The record has it all."""

FORGOTTEN_AT_ONCE = 5000

DELAYS = tuple(timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600))
"""After each failed try, as Standard Webhooks proposes; after the last one it is given up."""

KEPT = timedelta(days=30)
"""Of the log."""

log = logging.getLogger(__name__)


def any_webhook(database: Database) -> bool:
    """Whether anybody is to be told of anything."""
    with database.reading() as session:
        return session.scalar(select(Webhook.webhook_id).where(Webhook.enabled).limit(1)) is not None


def write_messages(database: Database) -> int:
    """Write what events since the last round are to be told, once for each webhook; returns how many messages."""
    with database.reading() as session:
        webhooks = session.scalars(select(Webhook.webhook_id).where(Webhook.enabled)).all()
    return sum(_write_for(database, webhook_id) for webhook_id in webhooks)


def _write_for(database: Database, webhook_id: str) -> int:
    written = 0
    with database.transaction() as session:
        webhook = session.get(Webhook, webhook_id, with_for_update=True)
        if webhook is None or not webhook.enabled or _waiting(session, webhook_id) >= WAITING_AT_MOST:
            return 0
        try:
            wanted = WebhookFilter.model_validate(webhook.filter)
        except ValidationError as error:
            # Of another version of the farm, which tells it what it missed; others are told meanwhile.
            log.error("webhook %s is told nothing, as its filter cannot be read: %s", webhook_id, said(error))
            return 0
        young = young_since(session)
        query = select(Event).where(Event.event_id > webhook.last_event_id)
        following = session.scalars(query.order_by(Event.event_id).limit(EVENTS_AT_ONCE)).all()
        for event in settled_after(webhook.last_event_id, following, young):
            webhook.last_event_id = event.event_id
            kind = f"{event.subject}.{event.what}"
            about = _about(session, event) if wanted.takes(kind) else None
            if about is not None and _fits(wanted, about):
                session.add(_message(webhook_id, event, kind, about))
                written += 1
    return written


def _waiting(session: Session, webhook_id: str) -> int:
    query = select(WebhookDelivery.delivery_id).where(
        WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.due_at.is_not(None)
    )
    return len(session.scalars(query.limit(WAITING_AT_MOST)).all())


def _about(session: Session, event: Event) -> dict[str, str | None]:
    """Ids that an event is about, as far as its subject has them."""
    if event.subject == "reproduction":
        run = session.get(Reproduction, event.subject_id)
        return {} if run is None else {"model": run.model_id, "dataset": run.dataset_id, "task": run.task_id}
    claim_id: str | None = event.subject_id
    if event.subject == "badge":
        claim_id = session.scalar(select(Badge.claim_id).where(Badge.badge_id == event.subject_id))
    claim = session.get(Claim, claim_id) if event.subject in ("claim", "badge") and claim_id else None
    if claim is not None:
        found = {"claim_id": claim.claim_id, "model": claim.model_id}
        return {**found, "dataset": claim.dataset_id, "task": claim.task_id}
    names = {"model": "model", "benchmark": "dataset"}
    return {names[event.subject]: event.subject_id} if event.subject in names else {}


def _fits(wanted: WebhookFilter, about: dict[str, str | None]) -> bool:
    return wanted.model in (None, about.get("model")) and wanted.dataset in (None, about.get("dataset"))


def _message(webhook_id: str, event: Event, kind: str, about: dict[str, Any]) -> WebhookDelivery:
    data = {
        **about,
        "event_id": event.event_id,
        "subject": event.subject,
        "subject_id": event.subject_id,
        "what": event.what,
        "actor": event.actor,
        "why": event.why,
    }
    return message(webhook_id, kind, event.at, data, event.event_id)


def send_due(database: Database, *, private: bool) -> int:
    """Try messages that are due, oldest first, several at the same time; returns how many were taken.

    Of each webhook one, and its others once that did not hang: they would take all places, and as long again. While
    one hangs, what is due to others is looked for anew, or they would get no more a round than one look finds.
    """
    taken, hung, until = 0, set[str](), monotonic() + WHOLE_SECONDS
    trying: dict[Future[bool], str] = {}
    others: dict[str, list[str]] = {}
    with ThreadPoolExecutor(AT_THE_SAME_TIME, thread_name_prefix="webhook") as pool:

        def turn(webhook_id: str, delivery_id: str) -> bool:
            if webhook_id in hung:
                # It stays due as it is, for the next round.
                return False
            came = _try(database, delivery_id, private=private)
            if came.hung:
                hung.add(webhook_id)
            return came.taken

        def begin(webhook_id: str, delivery_ids: Iterable[str]) -> None:
            trying.update({pool.submit(turn, webhook_id, each): webhook_id for each in delivery_ids})

        def look() -> None:
            for webhook_id, (first, *following) in _due(database, {*hung, *trying.values()}).items():
                others[webhook_id] = following
                begin(webhook_id, [first])

        look()
        while trying:
            done = wait(trying, STALLED_SECONDS, FIRST_COMPLETED).done
            for each in done:
                webhook_id = trying.pop(each)
                taken += each.result()
                begin(webhook_id, others.pop(webhook_id, ()))
            if not done and monotonic() < until:
                look()
    return taken


def _due(database: Database, but: Collection[str]) -> dict[str, list[str]]:
    """Messages that are due, by webhook, to others than those."""
    with database.reading() as session:
        # One that was removed while something was being sent to it may have left what is due and never sent.
        query = (
            select(WebhookDelivery.webhook_id, WebhookDelivery.delivery_id)
            .join(Webhook, Webhook.webhook_id == WebhookDelivery.webhook_id)
            .where(WebhookDelivery.due_at <= now(), Webhook.enabled, Webhook.webhook_id.not_in(but))
        )
        # The first of each webhook before the second of any: thousands that wait for one that hangs are hours of tries.
        turn = func.row_number().over(partition_by=WebhookDelivery.webhook_id, order_by=WebhookDelivery.due_at)
        found = session.execute(query.order_by(turn, WebhookDelivery.due_at).limit(SENT_AT_ONCE)).all()
    due: dict[str, list[str]] = {}
    for webhook_id, delivery_id in found:
        due.setdefault(webhook_id, []).append(delivery_id)
    return due


@dataclass(frozen=True)
class _Came:
    """What came of a message's turn."""

    taken: bool
    hung: bool


def _try(database: Database, delivery_id: str, *, private: bool) -> _Came:
    with database.reading() as session:
        found = session.execute(
            select(WebhookDelivery, Webhook)
            .join(Webhook, Webhook.webhook_id == WebhookDelivery.webhook_id)
            .where(WebhookDelivery.delivery_id == delivery_id, Webhook.enabled)
        ).one_or_none()
    if found is None:
        return _Came(taken=False, hung=False)
    delivery, webhook = found
    at, begun = now(), monotonic()
    tried = send(webhook.url, webhook.secret, delivery_id, delivery.body, at, private=private)
    hung = tried.status is None and monotonic() - begun > HANGS_SECONDS
    with database.transaction() as session:
        row = session.get_one(WebhookDelivery, delivery_id, with_for_update=True)
        row.tries, row.tried_at, row.status, row.detail = row.tries + 1, at, tried.status, tried.detail
        row.delivered_at = at if tried.taken else None
        # One that was removed meanwhile stays so.
        row.due_at = _next(tried, row.tries) if row.due_at is not None else None
    return _Came(tried.taken, hung)


def _next(tried: Tried, tries: int) -> datetime | None:
    if tried.taken or tried.for_ever or tries > len(DELAYS):
        return None
    return now() + DELAYS[tries - 1]


def forget_old(database: Database) -> None:
    """Drop from the log what was settled long ago."""
    while _forget_some(database) == FORGOTTEN_AT_ONCE:
        # In short transactions: the first run may meet all that ever piled up.
        continue


def _forget_some(database: Database) -> int:
    old = select(WebhookDelivery.delivery_id).where(
        WebhookDelivery.due_at.is_(None), WebhookDelivery.created_at < now() - KEPT
    )
    some = delete(WebhookDelivery).where(WebhookDelivery.delivery_id.in_(old.limit(FORGOTTEN_AT_ONCE)))
    with database.transaction() as session:
        return len(session.scalars(some.returning(WebhookDelivery.delivery_id)).all())
