"""The control worker's Celery app: what it does now and then, and when a worker says something.

Run by `celery -A scheduler.app worker -Q control --pool threads`; its hours are kept by scheduler/schedule.py.
"""

from __future__ import annotations

import gc
import logging
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from celery import Celery, Task, signals
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from scheduler.badges import issuing
from scheduler.badges.publications import want_mismatches
from scheduler.badges.revoking import revoke_left_over
from scheduler.collect import collecting, workforce
from scheduler.collect.checking import Checked
from scheduler.collect.group_commit import GroupCommit
from scheduler.collect.retrying import retry_delay_seconds
from scheduler.database.expiring_locks import held
from scheduler.database.postgres import AWAY
from scheduler.dispatch import dispatching, taking_back
from scheduler.dispatch.coalesced import Coalesced
from scheduler.dispatch.fetch_ahead_hints import HINT
from scheduler.farm import Farm
from scheduler.messaging import outbox
from scheduler.messaging.broker import (
    forget_queues,
    own_queues,
    queued_ids,
    send,
    tell_to_drop,
    tell_to_fetch,
    withdraw,
)
from scheduler.messaging.refused import count_refused
from scheduler.metrics import old_loads
from scheduler.planning import planning
from scheduler.publish.comment_commands import take_commands
from scheduler.publish.due import publish_due
from scheduler.reaping.reaper import reap
from scheduler.requests import requesting
from scheduler.requests.intervening import DROP
from scheduler.requests.repeating import repeat_stale
from scheduler.requests.requesting import LOOK
from scheduler.schedule import COMMENTS, DISPATCH, PLAN, PUBLISH, REAP, REVERIFY, SCAN, SIGN, TELL, TIDY
from scheduler.settings import read_settings
from scheduler.watch import announced, announcing
from scheduler.watch.scan import scan
from scheduler.watch.staleness import mark_stale
from scheduler.webhooks import delivery
from specs.errors import EvidenceAway, HubAway, MessageError, NoAccess
from specs.messages import (
    ATTEMPTS_ALIVE,
    CONTROL_QUEUE,
    REPORT,
    WORKER_ALIVE,
    AttemptRef,
    AttemptsAlive,
    FetchAhead,
    Report,
    Stage,
    WorkerAlive,
)
from specs.processes.broker import celery_settings
from specs.processes.log_lines import HTTP, about, hush, write_json_lines
from specs.processes.secrets import mask_logs
from specs.processes.spans import Place

log = logging.getLogger(__name__)

ROUNDS = 10
"""Of planning in one task; where more waits, another follows at once, between which a worker can be shut down."""

LOOKS = 10
"""At a model that somebody asked for, while the Hub is away or a scan goes on: with growing pauses, several hours."""

COLLECTED_AFTER_OBJECTS = 10_000
"""Python's own is 700."""

M = TypeVar("M", AttemptsAlive, FetchAhead, Report, WorkerAlive)

app = Celery("scheduler")


@cache
def farm() -> Farm:
    """This process's farm; made on first use, so that importing reads no setting."""
    settings = read_settings()
    mask_logs(settings.secrets)
    return Farm(settings)


@cache
def _missing_badges() -> issuing.Missing:
    return issuing.Missing(farm())


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
def _look_for_garbage_less_often(**_: object) -> None:
    # What was imported stays, and to walk all of it takes a twelfth of a second, during which no thread goes on. A
    # report makes thousands of objects: https://docs.python.org/3/library/gc.html#gc.freeze
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER_OBJECTS)


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


@app.task(name=SCAN)
def scan_hub() -> None:
    """Look for new, changed and withdrawn claims."""
    with held(farm().database, SCAN, timedelta(minutes=30)) as mine:
        if mine:
            try:
                scan(farm().database, farm().hub, farm().policy.watch, mine.lasts)
            except (HubAway, NoAccess) as error:
                log.warning("scan put off: %s", error)
            _at_once(plan_claims)


@app.task(name=PLAN)
def plan_claims() -> None:
    """Give every new claim a reproduction, a verdict or a reason to wait."""
    more = False
    with held(farm().database, PLAN, timedelta(minutes=10)) as mine:
        if mine:
            for _ in range(ROUNDS):
                planned = planning.plan(farm().database, farm().hub, farm().policy)
                more = planned == planning.PLANNED_AT_ONCE
                if planned:
                    # By another thread: this one would also do what reports ask of it meanwhile, and plan nothing.
                    _at_once(dispatch_batches)
                if not more or not mine.lasts():
                    break
    if more:
        _at_once(plan_claims)


@app.task(name=DISPATCH)
def dispatch_batches() -> None:
    """Fill the pools' queues."""
    _send_out()


@app.task(name=REAP)
def reap_lost() -> None:
    """Set right what got lost."""
    reap(farm().database, farm().policy, lambda queue: queued_ids(app, queue), _withdraw)
    count_refused(app, farm().database)


@app.task(name=TIDY)
def tidy_outbox() -> None:
    """Drop messages that were sent, and workers that were seen, long ago."""
    outbox.tidy(farm().database)
    workforce.tidy(farm().database)
    old_loads.put_together(farm().database)
    forget_queues(app, own_queues(app) - workforce.own_queues(farm().database))
    delivery.forget_old(farm().database)


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
            take_commands(farm(), mine.lasts)


@app.task(name=TELL)
def tell_webhooks() -> None:
    """Tell others what happened."""
    if delivery.any_webhook(farm().database):
        with held(farm().database, TELL, timedelta(minutes=10)) as mine:
            if mine:
                delivery.write_messages(farm().database)
                delivery.send_due(farm().database, private=farm().settings.webhook_private_addresses)


@app.task(name=announcing.LOOK)
def look_at_repo(body: dict[str, Any]) -> None:
    """Look at one repo that the Hub says has changed."""
    try:
        repo_type: announcing.RepoType = "model" if body["repo_type"] == "model" else "dataset"
        repo_id = str(body["repo_id"])
    except (LookupError, TypeError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    # Two looks at one model at once would both make its claims.
    with held(farm().database, SCAN, timedelta(minutes=30)) as mine:
        if mine:
            announced.look(farm().database, farm().hub, farm().policy.watch, repo_type, repo_id)
        else:
            announced.put_off(farm().database, repo_type, repo_id)


@app.task(name=ATTEMPTS_ALIVE)
def take_heartbeat(body: dict[str, Any]) -> None:
    """Renew leases, and tell a worker what to stop."""
    message = _decoded(AttemptsAlive, body)
    if message is None:
        return
    with about(batch_id=message.batch_id, worker=message.worker, pool=message.pool):
        for stale in collecting.alive(farm().database, farm().policy, message):
            tell_to_drop(app, stale.worker, stale.ref, message.batch_id)
        if any(progress.stage is Stage.FETCHING for progress in message.progress):
            # Where its batch has just left the queue, there is room for another.
            _send_out_if_possible()


@app.task(name=WORKER_ALIVE)
def take_presence(body: dict[str, Any]) -> None:
    """Note that a worker is there."""
    message = _decoded(WorkerAlive, body)
    if message is None:
        return
    with about(worker=message.worker, pool=message.pool):
        workforce.take(farm().database, farm().policy, message)
        if message.state not in workforce.READY:
            # What waits for it is somebody else's from now on, and not only when the reaper comes round.
            taking_back.take_back(farm().database, _withdraw)


@app.task(
    name=REPORT,
    # Hours of work are in it, and nobody sends it again.
    autoretry_for=AWAY,
    max_retries=None,
    retry_backoff=True,
    retry_backoff_max=30,
)
def take_report(body: dict[str, Any]) -> None:
    """End an attempt as its worker reports it."""
    message = _decoded(Report, body)
    if message is None:
        return
    run, attempt = message.ref.reproduction_id, message.ref.attempt
    with (
        about(reproduction_id=run, attempt=attempt, worker=message.worker),
        farm().spans.live(Place(run, "judge", attempt), Place.of_attempt(run, attempt), outcome=message.outcome),
    ):
        try:
            checked = collecting.check(farm().database, farm().policy, farm().settings.evidence_url, message)
            more = _take_in(checked)
        except EvidenceAway as away:
            log.warning("a report is kept, and checked later: %s", away)
            collecting.put_off(farm().database, farm().policy, message, away)
            return
        except collecting.FAULTS as error:
            collecting.set_aside(farm().database, farm().policy, message, error)
            more = True
        if more:
            _send_out_if_possible()


@app.task(name=DROP)
def drop_attempt(body: dict[str, Any]) -> None:
    """Tell a worker to stop an attempt that an operator cancelled."""
    try:
        ref = AttemptRef(reproduction_id=str(body["reproduction_id"]), attempt=int(body["attempt"]))
        worker, batch_id = str(body["worker"]), str(body["batch_id"])
    except (LookupError, TypeError, ValueError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    tell_to_drop(app, worker, ref, batch_id)


@app.task(name=HINT)
def pass_hint_on(body: dict[str, Any]) -> None:
    """Tell a worker what it is likely to need next."""
    try:
        worker, hint = str(body["worker"]), body["hint"]
    except (LookupError, TypeError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    message = _decoded(FetchAhead, hint)
    if message is not None:
        tell_to_fetch(app, worker, message)


@app.task(name=LOOK, bind=True, max_retries=None)
def look_at_wanted(self: Any, _body: dict[str, Any]) -> None:  # a bound Celery task has no common type
    """Look at a model that somebody asks to have verified, and have it verified."""
    delay = retry_delay_seconds(self.request.retries + 1)
    try:
        # Two looks at one model at once would both make its claims.
        with held(farm().database, SCAN, timedelta(minutes=30)) as mine:
            if mine:
                requesting.answer(farm().database, farm().hub, str(self.request.id), farm().policy.reverify)
                return
        why = "another look at the Hub is under way"
    except HubAway as error:
        why, delay = str(error), max(error.retry_after_seconds or 0.0, delay)
    except IntegrityError:
        why = "its claims changed while it was looked at"
    # The broker may lose it meanwhile; whoever asked sees no claim then, and asks again.
    if self.request.retries >= LOOKS:
        log.warning("gave up on a model that was asked for: %s", why)
        requesting.give_up(farm().database, str(self.request.id), why)
        return
    raise self.retry(countdown=delay)


@app.task(name=SIGN)
def sign_verdicts() -> None:
    """Make the badges that verified claims lack."""
    with held(farm().database, SIGN, timedelta(minutes=10)) as mine:
        if mine:
            _missing_badges().sign()


@app.task(name=PUBLISH)
def publish_verdicts() -> None:
    """Write on the Hub what is due."""
    with held(farm().database, PUBLISH, timedelta(minutes=10)) as mine:
        if mine:
            revoke_left_over(farm().database)
            want_mismatches(farm().database, farm().policy.publish)
            publish_due(farm(), mine.lasts)


def _at_once(task: Task[[], None]) -> None:
    """Have a periodic task follow now, by whichever thread is free first: what appeared does not wait for the clock."""
    try:
        task.apply_async(queue=CONTROL_QUEUE)
    except (KombuError, RedisError, OSError) as error:
        log.warning("%s comes with the clock: %s", task.name, error)


def _withdraw(queue: str, message_id: str) -> bool:
    return withdraw(app, queue, message_id)


def _fill_and_relay() -> None:
    dispatching.dispatch(farm().database, farm().policy, _relay)
    _relay()


def _relay() -> None:
    outbox.relay(farm().database, lambda **message: send(app, **message))


_send_out = Coalesced(_fill_and_relay)
_take_in: GroupCommit[Checked, bool] = GroupCommit(
    lambda reports: collecting.take_in(farm().database, farm().policy, reports)
)


def _send_out_if_possible() -> None:
    """After a message that was taken in: it is not to be taken in again because what follows failed."""
    try:
        _send_out()
    except (SQLAlchemyError, KombuError, RedisError, OSError) as error:
        log.warning("nothing sent out until the next look for work: %s", error)


def _decoded(kind: type[M], body: dict[str, Any]) -> M | None:
    """The message, or None where it is of another version or shape: said once in the log, then dropped.

    A worker that was upgraded alone is found by its lost leases; retrying its messages would change nothing.
    """
    try:
        return kind.decode(body)
    except MessageError as error:
        log.error("message refused: %s", error)
        return None
