"""What beat sends, and when."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.beat import Scheduler

from scheduler.schedule import entries, periods
from specs.policy.rules import Policy


def test_every_regular_task_is_due_as_soon_as_beat_starts() -> None:
    policy = Policy()
    app = Celery("schedule", set_as_current=False)
    app.conf.update(timezone="UTC", beat_schedule=entries(policy), beat_max_loop_interval=1)
    beat: Any = Scheduler(app, lazy=True)
    beat.setup_schedule()
    found = {name: entry for name, entry in beat.schedule.items() if not name.startswith("celery.")}
    assert set(found) == set(periods(policy))
    assert all(entry.is_due()[0] for entry in found.values())
    # And once it was sent, only after its period.
    assert not any(beat.reserve(entry).is_due()[0] for entry in found.values())
