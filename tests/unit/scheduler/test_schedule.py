"""What beat sends, and when."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler
from celery.worker.request import Request

from scheduler.schedule import entries, periods
from scheduler.settings import CLOCKS_DIFFER_SECONDS
from specs.policy.rules import Policy

APART = timedelta(seconds=CLOCKS_DIFFER_SECONDS)


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


@pytest.mark.parametrize("set_by", [timedelta(hours=-1), timedelta(hours=1)])
def test_beat_goes_by_the_time_that_passes_whatever_the_clock_is_set_to(
    set_by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy()
    app = Celery("schedule", set_as_current=False)
    app.conf.update(timezone="UTC", beat_schedule=entries(policy))
    beat: Any = Scheduler(app)
    sent: list[str] = []
    monkeypatch.setattr(beat, "apply_entry", lambda entry, **_: sent.append(entry.name))
    monkeypatch.setattr(Scheduler, "producer", None)

    def turn() -> set[str]:
        sent.clear()
        while not beat.tick():
            pass
        return set(sent)

    assert turn() == set(periods(policy))
    at = datetime.now(UTC) + set_by
    monkeypatch.setattr(app, "now", lambda: at)
    assert turn() == set(), "nothing is due once more at once"
    later = time.monotonic() + max(periods(policy).values())
    monkeypatch.setattr("scheduler.schedule.time", SimpleNamespace(monotonic=lambda: later))
    assert turn() == set(periods(policy))


@pytest.mark.parametrize("name", periods(Policy()))
def test_a_control_worker_whose_clock_is_ahead_of_beats_does_what_beat_sends(name: str) -> None:
    app = Celery("scheduler", set_as_current=False)
    app.conf.update(timezone="UTC")

    @app.task(name=name)
    def work() -> None:
        """Is what beat asks for."""

    expires = entries(Policy())[name]["options"]["expires"]
    sent = app.amqp.as_task_v2("an id", name, expires=expires, now=datetime.now(UTC) - APART)
    taken: Any = Request(
        SimpleNamespace(headers=sent.headers, properties={}, delivery_info={}),
        app=app,
        task=work,
        headers=sent.headers,
        body=sent.body,
        decoded=True,
    )
    assert not taken.maybe_expire()
