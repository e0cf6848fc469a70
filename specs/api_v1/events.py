"""What the API says, version 1, of what happened. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field

from specs.api_v1.views import Page, View

KINDS: Mapping[str, tuple[str, ...]] = {
    "claim": (
        *("submitted", "planned", "blocked", "decided", "rejected", "withdrawn"),
        *("badge", "publication_asked", "published", "kept_out", "stale", "current", "suspicious_log"),
        *("requested", "approved", "refused"),
    ),
    "reproduction": (
        *("queued", "dispatched", "running", "completed", "failed", "cancelled"),
        *("priority", "set_aside", "late_report", "report_put_off", "report_checked_again"),
    ),
    "benchmark": ("announced", "revision", "listed", "unlisted"),
    "model": ("announced", "requested", "looked_at"),
    "badge": ("revoked",),
    "key": ("announced", "current", "retired", "revoked"),
    "worker": ("registered", "returned", "quarantined", "free", "left", "lost"),
    "webhook": ("added", "removed"),
    "token": ("created", "revoked"),
    "user": ("signed_in", "signed_out"),
}
"""Every kind of event: what happens to each subject. A new one belongs here and in docs/dashboard.md."""


class EventView(View):
    """Who did what to which thing, when and why."""

    id: int
    """Grows; later events have larger ids. A farm that was restored from a backup gives those that it lost again."""

    cursor: str
    """What `after` and `Last-Event-ID` take, to go on behind this event; no other event ever has it."""

    at: datetime
    actor: str
    subject: str
    """claim, reproduction, benchmark, model, badge, key, worker, webhook, token or user."""

    subject_id: str
    what: Annotated[
        str,
        Field(
            description="What happened: for a change of state, the new state. Of a "
            + "; of a ".join(f"{subject}: {', '.join(whats)}" for subject, whats in KINDS.items())
            + ". Later versions may add to these."
        ),
    ]

    why: str


class EventsLost(View):
    """Events were missed and are not sent again: the data of a `reset` message of `/v1/events`, or a page's `reset`."""

    last_event_id: int
    """What follows comes after this one; read the lists anew."""

    cursor: str
    """The `cursor` of that event, to go on behind it."""


class EventPage(Page[EventView]):
    """A part of the record."""

    reset: EventsLost | None = None
    """Where `after` is an event that this farm does not know, because its database was restored from before it. Null
    where nothing was lost."""
