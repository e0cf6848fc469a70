"""Webhooks: added, removed, and tried."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import urlsplit

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from scheduler.database.high_watermark import high_watermark
from scheduler.database.session import write_events
from scheduler.database.tables import Webhook, WebhookDelivery, new_id, now
from scheduler.record import add_event
from scheduler.webhooks.addresses import split
from scheduler.webhooks.messages import message
from specs.api_v1.webhooks import NewWebhook
from specs.errors import ReprofarmError

MOST = 100
"""Each costs work at every event."""

SECRET_BYTES = 32
"""Of the 24 to 64 that the standard allows."""


class TooMany(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """There are as many webhooks as a farm may have."""


def add(session: Session, wanted: NewWebhook, actor: str) -> Webhook:
    """Have somebody told of what happens from now on.

    Raises:
        Unsendable: nothing can be sent to such an address.
        TooMany: somebody has to go first.
    """
    split(wanted.url)
    if (session.scalar(select(func.count()).select_from(Webhook).where(Webhook.enabled)) or 0) >= MOST:
        raise TooMany(f"the farm has {MOST} webhooks already; remove one first")
    row = Webhook(
        webhook_id=new_id(),
        url=wanted.url,
        secret="whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
        filter=wanted.filter.model_dump(mode="json"),
        created_by=actor,
        created_at=now(),
        enabled=True,
        last_event_id=0,
    )
    session.add(row)
    # The path of an address may be a secret of its receiver's.
    add_event(session, actor, "webhook", row.webhook_id, "added", f"tells {urlsplit(wanted.url).hostname}")
    write_events(session)
    # Not the last id: an earlier one may be of a transaction that is yet to be committed.
    row.last_event_id = high_watermark(session)
    return row


def remove(session: Session, webhook_id: str, actor: str) -> bool:
    """Tell somebody no more, also not of what waits to be told. False where there is no such webhook."""
    row = session.get(Webhook, webhook_id)
    if row is None or not row.enabled:
        return False
    row.enabled = False
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.due_at.is_not(None))
        .values(due_at=None, detail="the webhook was removed")
    )
    add_event(session, actor, "webhook", webhook_id, "removed", "is told no more")
    return True


def send_test(session: Session, webhook_id: str, actor: str) -> WebhookDelivery | None:
    """Have a message sent that says nothing; None where there is no such webhook."""
    row = session.get(Webhook, webhook_id)
    if row is None or not row.enabled:
        return None
    delivery = message(webhook_id, "test", now(), {"asked_by": actor})
    session.add(delivery)
    return delivery
