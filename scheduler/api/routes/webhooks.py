"""Outgoing webhooks: for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy import ColumnElement, select

from scheduler.api import pages
from scheduler.api.callers.callers import Operator
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.problems import NotFound
from scheduler.database.tables import Webhook, WebhookDelivery
from scheduler.webhooks import registry
from specs.api_v1.views import ID_CHARS, Page
from specs.api_v1.webhooks import CreatedWebhook, DeliveryView, NewWebhook, WebhookFilter, WebhookView

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(pattern=rf"^[0-9a-f]{{{ID_CHARS}}}$")]


@router.get("")
def list_webhooks(
    session: Reading,
    _operator: Operator,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[WebhookView]:
    """Who is told, newest first; those that were removed too."""
    conditions: list[ColumnElement[bool]] = []
    if cursor is not None:
        conditions.append(pages.after(cursor, Webhook.created_at, Webhook.webhook_id))
    query = select(Webhook).where(*conditions).order_by(Webhook.created_at.desc(), Webhook.webhook_id.desc())
    rows = session.scalars(query.limit(limit + 1)).all()
    return pages.page(Page[WebhookView], rows, limit, _view, lambda row: pages.encode(row.created_at, row.webhook_id))


@router.post("", status_code=201)
def add_webhook(source: TheSource, operator: Operator, wanted: NewWebhook) -> CreatedWebhook:
    """Have somebody told of what happens from now on. The secret is shown this once."""
    with source.database.transaction() as session:
        row = registry.add(session, wanted, operator.actor)
        return CreatedWebhook(**_view(row).model_dump(), secret=row.secret)


@router.delete("/{webhook_id}", status_code=204)
def remove_webhook(source: TheSource, operator: Operator, webhook_id: WebhookId) -> None:
    """Tell somebody no more. The log of what they were told stays."""
    with source.database.transaction() as session:
        if not registry.remove(session, webhook_id, operator.actor):
            raise NotFound("there is no such webhook")


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(source: TheSource, operator: Operator, webhook_id: WebhookId) -> DeliveryView:
    """Have a message sent that says nothing. The log shows what becomes of it."""
    with source.database.transaction() as session:
        delivery = registry.send_test(session, webhook_id, operator.actor)
        if delivery is None:
            raise NotFound("there is no such webhook")
        return _delivery(delivery)


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    session: Reading,
    _operator: Operator,
    webhook_id: WebhookId,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[DeliveryView]:
    """What somebody was told, newest first, and whether they took it."""
    if session.get(Webhook, webhook_id) is None:
        raise NotFound("there is no such webhook")
    conditions: list[ColumnElement[bool]] = [WebhookDelivery.webhook_id == webhook_id]
    if cursor is not None:
        conditions.append(pages.after(cursor, WebhookDelivery.created_at, WebhookDelivery.delivery_id))
    newest_first = (WebhookDelivery.created_at.desc(), WebhookDelivery.delivery_id.desc())
    rows = session.scalars(select(WebhookDelivery).where(*conditions).order_by(*newest_first).limit(limit + 1)).all()
    return pages.page(
        Page[DeliveryView], rows, limit, _delivery, lambda row: pages.encode(row.created_at, row.delivery_id)
    )


def _view(row: Webhook) -> WebhookView:
    return WebhookView(
        id=row.webhook_id,
        url=row.url,
        filter=WebhookFilter.model_validate(row.filter),
        created_by=row.created_by,
        created_at=row.created_at,
        enabled=row.enabled,
    )


def _delivery(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.delivery_id,
        kind=row.kind,
        event_id=row.event_id,
        created_at=row.created_at,
        tries=row.tries,
        tried_at=row.tried_at,
        delivered_at=row.delivered_at,
        next_try_at=row.due_at,
        status=row.status,
        detail=row.detail,
    )
