"""The control worker's Celery app: what it does now and then, and when a worker says something.

Run by `celery -A scheduler.app worker -Q control --pool threads`; its hours are kept by scheduler/schedule.py.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from celery import Celery

from scheduler import collecting, dispatching, outbox, planning, reaping, requesting, workforce
from scheduler.badges import signing_off
from scheduler.broker import queued_ids, send, tell_to_drop
from scheduler.collecting import Stale
from scheduler.comparing import SIGN
from scheduler.farm import Farm
from scheduler.intervening import DROP
from scheduler.marker import held
from scheduler.publish.due import publish_due
from scheduler.publish.listening import listen
from scheduler.publish.wanted import want_mismatches
from scheduler.repeating import repeat_stale
from scheduler.requesting import LOOK
from scheduler.retrying import retry_delay_seconds
from scheduler.schedule import COMMENTS, DISPATCH, PLAN, PUBLISH, REAP, REVERIFY, SCAN, TIDY
from scheduler.settings import read_settings
from scheduler.staleness import mark_stale
from scheduler.watch.scan import scan
from specs.api_v1_actions import VerificationRequest
from specs.errors import HubAway, MessageError
from specs.messages import (
    ATTEMPTS_ALIVE,
    CONTROL_QUEUE,
    REPORT,
    WORKER_ALIVE,
    AttemptRef,
    AttemptsAlive,
    Report,
    WorkerAlive,
)

log = logging.getLogger(__name__)

LOOKS = 10
"""At a model that somebody asked for, while the Hub is away: with growing pauses, several hours."""

M = TypeVar("M", AttemptsAlive, Report, WorkerAlive)

app = Celery("scheduler")


@cache
def farm() -> Farm:
    """This process's farm; made on first use, so that importing reads no setting."""
    return Farm(read_settings())


@app.add_defaults
def _configuration() -> dict[str, Any]:
    return {
        "broker_url": farm().settings.broker_url.get_secret_value(),
        "broker_connection_retry_on_startup": True,
        # None is without end: a broker that comes back is found again.
        "broker_connection_max_retries": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_default_queue": CONTROL_QUEUE,
        "task_create_missing_queues": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


@app.task(name=SCAN)
def scan_hub() -> None:
    """Look for new, changed and withdrawn claims."""
    with held(farm().database, SCAN, timedelta(minutes=30)) as mine:
        if mine:
            try:
                scan(farm().database, farm().hub, farm().policy.watch)
            except HubAway as error:
                log.warning("scan put off: %s", error)


@app.task(name=PLAN)
def plan_claims() -> None:
    """Give every new claim a reproduction, a verdict or a reason to wait."""
    with held(farm().database, PLAN, timedelta(minutes=10)) as mine:
        if mine:
            planning.plan(farm().database, farm().hub, farm().policy)


@app.task(name=DISPATCH)
def dispatch_batches() -> None:
    """Fill the pools' queues."""
    dispatching.dispatch(farm().database, farm().policy)
    _relay()


@app.task(name=REAP)
def reap_lost() -> None:
    """Set right what got lost."""
    workforce.find_lost(farm().database)
    reaping.reap(farm().database, farm().policy, lambda queue: queued_ids(app, queue))


@app.task(name=TIDY)
def tidy_outbox() -> None:
    """Drop messages that were sent, and workers that were seen, long ago."""
    outbox.tidy(farm().database)
    workforce.tidy(farm().database)


@app.task(name=REVERIFY)
def reverify_stale() -> None:
    """Find what is stale, and have it verified again where policy wants that."""
    with held(farm().database, REVERIFY, timedelta(minutes=10)) as mine:
        if mine:
            mark_stale(farm().database, farm().policy.reverify)
            repeat_stale(farm().database, farm().policy.reverify)


@app.task(name=COMMENTS)
def read_comments() -> None:
    """Take requests for re-verification from comments on the Hub."""
    with held(farm().database, COMMENTS, timedelta(minutes=10)) as mine:
        if mine:
            listen(farm())


@app.task(name=ATTEMPTS_ALIVE)
def take_heartbeat(body: dict[str, Any]) -> None:
    """Renew leases, and tell a worker what to stop."""
    message = _decoded(AttemptsAlive, body)
    if message is not None:
        for stale in collecting.alive(farm().database, farm().policy, message):
            tell_to_drop(app, stale)


@app.task(name=WORKER_ALIVE)
def take_presence(body: dict[str, Any]) -> None:
    """Note that a worker is there."""
    message = _decoded(WorkerAlive, body)
    if message is not None:
        workforce.take(farm().database, farm().policy, message)


@app.task(name=REPORT)
def take_report(body: dict[str, Any]) -> None:
    """End an attempt as its worker reports it."""
    message = _decoded(Report, body)
    if message is not None:
        collecting.report(farm().database, farm().policy, farm().settings.evidence_url, message)
        _relay()


@app.task(name=DROP)
def drop_attempt(body: dict[str, Any]) -> None:
    """Tell a worker to stop an attempt that an operator cancelled."""
    ref = AttemptRef(reproduction_id=str(body["reproduction_id"]), attempt=int(body["attempt"]))
    tell_to_drop(app, Stale(ref, str(body["worker"])))


@app.task(name=LOOK, bind=True, max_retries=None)
def look_at_wanted(self: Any, body: dict[str, Any]) -> None:  # a bound Celery task has no common type
    """Look at a model that somebody asks to have verified, and have it verified."""
    request = VerificationRequest.model_validate(body["request"])
    try:
        requesting.look_and_verify(farm().database, farm().hub, request, str(body["actor"]))
    except HubAway as error:
        # The broker may lose it meanwhile; whoever asked sees no claim then, and asks again.
        delay = max(error.retry_after_seconds or 0.0, retry_delay_seconds(self.request.retries + 1))
        if self.request.retries >= LOOKS:
            log.warning("gave up looking at %s, which was asked for: %s", request.model, error)
            return
        raise self.retry(exc=error, countdown=delay) from error


@app.task(name=SIGN)
def sign_verdict(body: dict[str, Any]) -> None:
    """Make the badge of a verified claim."""
    signing_off.sign(farm(), str(body["claim_id"]))


@app.task(name=PUBLISH)
def publish_verdicts() -> None:
    """Make badges that are missing, and write on the Hub what is due."""
    with held(farm().database, PUBLISH, timedelta(minutes=10)) as mine:
        if mine:
            signing_off.sign_missing(farm())
            want_mismatches(farm().database, farm().policy.publish)
            publish_due(farm())


def _relay() -> None:
    outbox.relay(farm().database, lambda **message: send(app, **message))


def _decoded(kind: type[M], body: dict[str, Any]) -> M | None:
    """The message, or None where it is of another version or shape: said once in the log, then dropped.

    A worker that was upgraded alone is found by its lost leases; retrying its messages would change nothing.
    """
    try:
        return kind.decode(body)
    except MessageError as error:
        log.error("message refused: %s", error)
        return None
