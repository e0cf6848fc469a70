"""When the control plane does what. Beat only sends names, so this imports nothing of what they do.

Run by `celery -A scheduler.schedule beat`, once a farm.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery, signals
from celery.schedules import schedule

from scheduler.settings import CLOCKS_DIFFER_SECONDS, read_settings
from specs.messages import CONTROL_QUEUE
from specs.policy.rules import Policy, read_policy
from specs.processes.broker import celery_settings
from specs.processes.log_lines import write_json_lines
from specs.processes.secrets import mask_logs

SCAN, PLAN, DISPATCH, REAP, SIGN, PUBLISH, TELL, TIDY, REVERIFY, COMMENTS = (
    f"scheduler.{name}"
    for name in ("scan", "plan", "dispatch", "reap", "sign", "publish", "tell", "tidy", "reverify", "comments")
)

DISPATCH_SECONDS = 2.0
"""Between two looks for work: a fraction of what any run takes, and cheap."""

TIDY_SECONDS = 3600.0

REVERIFY_SECONDS = 60.0
"""Between two looks for what is stale, for comments that ask, and for requests that are due once more: as often as the
Hub is scanned by default."""

LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
"""Before any time that `_steady_now` says."""

app = Celery("schedule")


def periods(policy: Policy) -> dict[str, float]:
    """Seconds between two runs of each periodic task."""
    return {
        SCAN: policy.watch.scan_seconds,
        PLAN: DISPATCH_SECONDS,
        DISPATCH: DISPATCH_SECONDS,
        SIGN: DISPATCH_SECONDS,
        PUBLISH: DISPATCH_SECONDS,
        TELL: DISPATCH_SECONDS,
        # A lease is found lost soon after it ran out.
        REAP: policy.run.heartbeat_seconds,
        TIDY: TIDY_SECONDS,
        REVERIFY: REVERIFY_SECONDS,
        COMMENTS: REVERIFY_SECONDS,
    }


def _steady_now() -> datetime:
    """By a clock that nobody sets, and that says nothing but how much time has passed.

    By the machine's, one that is set back by an hour would have beat send nothing for an hour.
    """
    return datetime.fromtimestamp(time.monotonic(), UTC)


def entries(policy: Policy) -> dict[str, dict[str, Any]]:
    """Beat's schedule, by the names of its tasks."""
    return {
        name: {
            "task": name,
            "schedule": schedule(timedelta(seconds=seconds), nowfun=_steady_now),
            # Due as soon as beat starts. By itself Celery would wait for a whole period first: a
            # new farm for a minute until it looks at the Hub, and one that is restarted each hour would never tidy.
            "last_run_at": LONG_AGO,
            # One that waited until the next is due is not needed any more. It is beat's clock that sets the time, and
            # the control worker's that is looked at: one that is ahead of it would do nothing that is due each moment.
            "options": {"queue": CONTROL_QUEUE, "expires": seconds + CLOCKS_DIFFER_SECONDS},
        }
        for name, seconds in periods(policy).items()
    }


@signals.after_setup_logger.connect
def _log_as_set(logger: logging.Logger, **_: object) -> None:
    if read_settings().log_format == "json":
        write_json_lines(logger)


@signals.beat_init.connect
def _show_that_it_sends(**_: object) -> None:
    file = read_settings().liveness_file
    if file is not None:
        # Not before it is beat: a control worker imports this too, and what it sends is no sign of beat.
        signals.after_task_publish.connect(lambda **_: file.touch(), weak=False)


@app.add_defaults
def _configuration() -> dict[str, Any]:
    settings = read_settings()
    mask_logs(settings.secrets)
    return {
        **celery_settings(settings.broker_url.get_secret_value()),
        "timezone": "UTC",
        # By default one that keeps a file, of which `entries` needs nothing, and that ends where the disk is full.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": entries(read_policy(settings.policy)),
    }
