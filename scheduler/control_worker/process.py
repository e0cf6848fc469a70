"""A control worker's process: its Celery app, its farm, its log, and what it shows of itself."""

from __future__ import annotations

import gc
import logging
from functools import cache
from typing import Any

from celery import Celery, signals
from sqlalchemy.exc import SQLAlchemyError

from scheduler.farm import Farm
from scheduler.settings import read_settings
from specs.messages import CONTROL_QUEUE
from specs.processes.broker import celery_settings
from specs.processes.log_lines import HTTP, hush, write_json_lines
from specs.processes.secrets import mask_logs

log = logging.getLogger(__name__)

app = Celery("scheduler")


@cache
def farm() -> Farm:
    """This process's farm; made on first use, so that importing reads no setting."""
    settings = read_settings()
    mask_logs(settings.secrets)
    found = Farm(settings)
    # Before a message is taken: a policy that cannot be read would have each report end in an error, taken and lost.
    _ = found.policy
    return found


@app.add_defaults
def _configuration() -> dict[str, Any]:
    return {
        **celery_settings(farm().settings.broker_url.get_secret_value()),
        "task_default_queue": CONTROL_QUEUE,
        "task_create_missing_queues": True,
        # As many messages as there are threads wait in this process, for whichever is free first; fewer than these may
        # wait for the Hub. `worker_disable_prefetch` would leave them in Redis, and take a quarter as many a second or
        # fewer: Celery 5.7's consumer sleeps for a second before it sees that a thread is free.
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        # It tells workers what to stop, and takes no commands itself: a worker could shut it down.
        "worker_enable_remote_control": False,
        "timezone": "UTC",
    }


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _log_as_set(logger: logging.Logger, **_: object) -> None:
    if farm().settings.log_format == "json":
        write_json_lines(logger)
    # Some tasks run every second, mostly to find nothing. What they do is on the record, and in the log by that. Those
    # that beat sent before a worker was there expire, of which Celery says that it discards a revoked task.
    hush(*HTTP, "celery.worker.strategy", "celery.worker.request", "celery.app.trace")


@signals.worker_ready.connect
def _pass_over_what_was_imported(**_: object) -> None:
    # It stays, and to walk all of it takes a twelfth of a second, during which no thread goes on:
    # https://docs.python.org/3/library/gc.html#gc.freeze
    gc.collect()
    gc.freeze()


@signals.worker_shutdown.connect
def _tell_the_last_spans(**_: object) -> None:
    farm().spans.close()


@signals.task_prerun.connect
def _show_that_it_consumes(**_: object) -> None:
    file = farm().settings.liveness_file
    if file is not None:
        file.touch()


@signals.task_postrun.connect
def _note_what_the_hub_allows(**_: object) -> None:
    try:
        farm().hub.limits.note(farm().database)
    except SQLAlchemyError as error:
        # A figure for Prometheus, and nothing that a task's work depends on.
        log.warning("the Hub's limit was not noted: %s", type(error).__name__)
