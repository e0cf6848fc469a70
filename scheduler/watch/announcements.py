"""Changes that the Hub announces by its webhook, to be looked at soon: entered here, done by the control worker."""

from __future__ import annotations

import hashlib
import time

from sqlalchemy.orm import Session

from scheduler.database.tables import OutboxRow
from scheduler.hub.answers import RepoType
from scheduler.messaging import outbox
from scheduler.record import add_event
from scheduler.watch.due_models import mark_due
from specs.messages import CONTROL_QUEUE

LOOK_AT_REPO = "scheduler.look_at_repo"

ACTOR = "webhook:hub"

ONCE_IN_SECONDS = 5
"""Announcements of one repo that come together are one look, and another by the next scan. One that is sent again later
costs one look more, which finds nothing."""


def announce(session: Session, repo_type: RepoType, repo_id: str, what: str) -> bool:
    """Have one repo looked at soon; False where that was announced just now, and what is new since waits for a scan."""
    moment = int(time.time() // ONCE_IN_SECONDS)
    message_id = hashlib.sha256(f"{LOOK_AT_REPO} {repo_type} {repo_id} {moment}".encode()).hexdigest()[:32]
    if session.get(OutboxRow, message_id) is not None:
        # That look may be under way, or over: what it read is then from before this change.
        if repo_type == "model":
            mark_due(session, {repo_id})
        return False
    body = {"repo_type": repo_type, "repo_id": repo_id}
    outbox.put(session, queue=CONTROL_QUEUE, task=LOOK_AT_REPO, body=body, message_id=message_id)
    add_event(session, ACTOR, "model" if repo_type == "model" else "benchmark", repo_id, "announced", what)
    return True
