"""What the control worker does when a worker says something: that it works, that it is there, how an attempt ended."""

from __future__ import annotations

import logging
from threading import Event
from typing import Any

from celery import signals
from celery.exceptions import Reject
from celery.utils.time import get_exponential_backoff_interval
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set, wait_exponential

from scheduler.collect import heartbeats, reports, workforce
from scheduler.collect.checking import Checked
from scheduler.collect.group_commit import GroupCommit
from scheduler.control_worker import process, sending
from scheduler.control_worker.refusing import decoded
from scheduler.database.postgres import AWAY
from scheduler.dispatch import taking_back
from scheduler.messaging.broker import tell_to_drop
from specs.messages import ATTEMPTS_ALIVE, REPORT, WORKER_ALIVE, AttemptsAlive, Report, Stage, WorkerAlive
from specs.processes.log_lines import about
from specs.processes.spans import Place

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 30
"""Until a report that met no database is taken again, at most."""


@process.app.task(name=ATTEMPTS_ALIVE)
def take_heartbeat(body: dict[str, Any]) -> None:
    """Renew leases, and tell a worker what to stop."""
    message = decoded(AttemptsAlive, body)
    if message is None:
        return
    farm = process.farm()
    with about(batch_id=message.batch_id, worker=message.worker, pool=message.pool):
        for stale in heartbeats.alive(farm.database, farm.policy, message):
            tell_to_drop(process.app, stale.worker, stale.ref, message.batch_id)
        if any(progress.stage is Stage.FETCHING for progress in message.progress):
            # Where its batch has just left the queue, there is room for another.
            sending.send_out_if_possible()


@process.app.task(name=WORKER_ALIVE)
def take_presence(body: dict[str, Any]) -> None:
    """Note that a worker is there."""
    message = decoded(WorkerAlive, body)
    if message is None:
        return
    farm = process.farm()
    with about(worker=message.worker, pool=message.pool):
        workforce.take(farm.database, farm.policy, message)
        if message.state not in workforce.READY:
            # What waits for it is somebody else's from now on, and not only when the reaper comes round.
            taking_back.take_back(farm.database, farm.policy, sending.withdraw)


_stopping = Event()


@signals.worker_shutting_down.connect
def _let_go(**_: object) -> None:
    _stopping.set()


@process.app.task(name=REPORT, bind=True, max_retries=None)
def take_report(self: Any, body: dict[str, Any]) -> None:  # a bound Celery task has no common type
    """End an attempt as its worker reports it."""
    message = decoded(Report, body)
    if message is None:
        return
    # Hours of work are in it, and nobody sends it again. Where the broker does not take it back while the database is
    # away, Celery would drop it: it is held here until either answers, or this process is told to stop.
    patience = Retrying(
        retry=retry_if_exception_type(Reject),
        wait=wait_exponential(max=LONGEST_PAUSE_SECONDS),
        stop=stop_when_event_set(_stopping),
        sleep=sleep_using_event(_stopping),
        reraise=True,
    )
    for turn in patience:
        with (
            turn,
            about(reproduction_id=message.ref.reproduction_id, attempt=message.ref.attempt, worker=message.worker),
        ):
            try:
                _end_attempt(message)
            except AWAY as error:
                log.warning("a report is taken later: %s", type(error).__name__)
                delay = get_exponential_backoff_interval(
                    1, self.request.retries, LONGEST_PAUSE_SECONDS, full_jitter=True
                )
                raise self.retry(exc=error, countdown=delay) from error


def _end_attempt(message: Report) -> None:
    run, attempt = message.ref.reproduction_id, message.ref.attempt
    farm = process.farm()
    with farm.spans.live(Place(run, "judge", attempt), Place.of_attempt(run, attempt), outcome=message.outcome):
        if reports.report(farm.database, farm.policy, farm.settings.evidence_url, message, _take_in):
            sending.send_out_if_possible()


_take_in: GroupCommit[Checked, bool] = GroupCommit(
    lambda checked: reports.take_in(process.farm().database, process.farm().policy, checked)
)
