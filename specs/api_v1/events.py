"""What the API says, version 1, of what happened. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime

from specs.api_v1.views import View


class EventView(View):
    """Who did what to which thing, when and why."""

    id: int
    """Grows; later events have larger ids."""

    at: datetime
    actor: str
    subject: str
    """claim, reproduction, benchmark, model, badge, key, worker, webhook, token or user."""

    subject_id: str
    what: str
    """For a change of state, the new state."""

    why: str
