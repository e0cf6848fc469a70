"""The worker as a Celery app: `celery -A workers.app worker -Q pool.NAME -c 1`.

A batch's message is acknowledged when it is taken, not when it is done: the control plane's lease decides whether an
attempt is lost, and numbers each try. A message that is acknowledged late is delivered again while its batch still
runs, as soon as that outlasts Redis' visibility timeout (https://github.com/celery/celery/issues/5935); one that is
redelivered all the same is harmless, because only one report of an attempt counts.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from typing import IO, Any

import psutil
from celery import Celery, Task
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from celery.worker.control import control_command

from specs.errors import MessageError, PolicyError, ReprofarmError
from specs.messages import (
    ATTEMPTS_ALIVE,
    CONTROL_QUEUE,
    REPORT,
    RUN_BATCH,
    AttemptRef,
    AttemptsAlive,
    FetchAhead,
    Report,
    RunBatch,
)
from specs.processes.broker import celery_settings
from specs.processes.connections import BROKER
from specs.processes.log_lines import HTTP, about, hush, write_json_lines
from specs.processes.secrets import mask_logs
from specs.processes.spans import Spans, open_spans
from workers.batches.batch import BatchRun
from workers.batches.handing_back import hand_back_whole
from workers.batches.messenger import Messenger
from workers.batches.workbench import Workbench, dropped_attempts_of, open_workbench, stop_mark_of
from workers.broker_clock import expiry
from workers.presence.attendance import attend
from workers.settings import WorkerSettings, read_settings
from workers.snapshots.fetch_ahead import AheadFetcher
from workers.state_folder import MAIN, held

_log = logging.getLogger(__name__)

_HEARTBEAT_LIFE = 12
"""In heartbeats: one that old would renew a lease for a worker of which nothing newer is known."""


def _configuration() -> dict[str, Any]:
    settings = worker_settings()
    attend(app, settings)
    return {
        **celery_settings(settings.broker_url.get_secret_value()),
        "broker_transport_options": {
            **BROKER,
            # The worker's own queue before its pool's: what is there is for the engine that it has.
            "queue_order_strategy": "priority",
        },
        "result_backend": None,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": False,
        # A batch belongs to whoever is free, not to whoever asked first.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_concurrency": 1,
        "worker_pool": "prefork",
        "task_default_queue": settings.queue,
        "worker_send_task_events": False,
    }


@functools.cache
def worker_settings() -> WorkerSettings:
    """This process's settings, read when first asked for."""
    settings = read_settings()
    mask_logs(settings.secrets)
    return settings


app = Celery("workers")
app.add_defaults(_configuration)


_opening = threading.Lock()
_benches: list[Workbench] = []
"""Of this process: one, once it is open."""


def _workbench(name: str) -> Workbench:
    with _opening:
        if not _benches:
            _benches.append(open_workbench(name, worker_settings()))
            _benches[0].begin()
        return _benches[0]


@functools.cache
def _spans() -> Spans:
    """Of the child, where batches run: the thread that sends them would not survive a fork."""
    return open_spans("reprofarm-worker")


@app.task(name=RUN_BATCH, bind=True)
def run_batch(task: Task[..., None], message: object) -> None:
    """Run an encoded `RunBatch`."""
    try:
        batch = RunBatch.decode(message)
    except MessageError:
        _log.exception("a batch was refused")
        return
    name, pool = str(task.request.hostname), worker_settings().pool
    with (
        about(batch_id=batch.batch_id, worker=name, pool=pool),
        Messenger(batch, name, pool, functools.partial(_send, batch), _spans()) as messenger,
    ):
        try:
            bench = _workbench(name)
        except Exception as error:  # noqa: BLE001 - a lock, a folder, a disk: whatever keeps it from working
            _log.exception("a batch is handed back: this worker can begin nothing")
            hand_back_whole(batch, name, messenger, error)
            return
        BatchRun(batch, bench, messenger).run()


def _send(batch: RunBatch, message: AttemptsAlive | Report) -> None:
    beat = isinstance(message, AttemptsAlive)
    life = _HEARTBEAT_LIFE * max(batch.heartbeat_seconds, 5.0)
    with app.producer_or_acquire() as producer:
        app.send_task(
            ATTEMPTS_ALIVE if beat else REPORT,
            args=[message.encode()],
            queue=CONTROL_QUEUE,
            producer=producer,
            expires=expiry(producer.connection, life) if beat else None,
            # The messenger tries again, at its own pace.
            retry=False,
        )


@after_setup_logger.connect
@after_setup_task_logger.connect
def _log_as_set(logger: logging.Logger, **_: object) -> None:
    if worker_settings().log_format == "json":
        write_json_lines(logger)
    hush(*HTTP)


_names: list[str] = []
"""Of this worker: one, once it is known."""


def _prepare() -> None:
    try:
        _workbench(_names[0])
    except (ReprofarmError, OSError) as error:
        # The first batch meets it again, and is handed back with it.
        _log.error("this worker cannot prepare for batches: %s", error)


@worker_process_init.connect
def _child_begins(**_: object) -> None:
    # It is the main process that has the folder, and leaves it when it ends.
    while _main_locks:
        _main_locks.pop().close()
    # psutil remembers processes, each with a lock. A child that is forked while the main process's presence looks at
    # one would wait for that for ever.
    psutil.process_iter.cache_clear()
    if worker_settings().prepare:
        # Celery gives this process a few seconds to be there, and what a predecessor left may take longer to end.
        threading.Thread(target=_prepare, name="prepare", daemon=True).start()


@worker_process_shutdown.connect
def _child_ends(**_: object) -> None:
    _spans().close()


@functools.cache
def _ahead() -> AheadFetcher:
    return AheadFetcher(worker_settings())


_main_locks: list[IO[bytes]] = []


@worker_init.connect
def _started(sender: object, **_: object) -> None:
    _names.append(str(getattr(sender, "hostname", "")))
    try:
        _main_locks.append(held(worker_settings().state_folder, MAIN))
        stop_mark_of(worker_settings()).clear()
    except (PolicyError, OSError) as error:
        # Celery goes on after any other exception, and takes batches that it then could not run.
        sys.exit(f"reprofarm: the state folder cannot be used: {error}")


@worker_shutting_down.connect
def _told_to_stop(**_: object) -> None:
    # Celery's main process now waits for its child, which looks for the mark.
    stop_mark_of(worker_settings()).set()
    _ahead().stop()


@control_command(
    args=[("reproduction_id", str), ("attempt", int), ("batch_id", str)], signature="REPRODUCTION_ID ATTEMPT BATCH_ID"
)
def drop_attempt(_: object, reproduction_id: str, attempt: int, batch_id: str) -> dict[str, str]:
    """Stop working on an attempt and report nothing of it; the rest of its batch goes on."""
    ref = AttemptRef(reproduction_id=reproduction_id, attempt=attempt)
    dropped_attempts_of(worker_settings()).mark(batch_id, ref)
    return {"ok": f"dropping attempt {attempt} at {reproduction_id}"}


@control_command(args=[("hint", dict)], signature="HINT")
def fetch_ahead(_: object, hint: object) -> dict[str, str]:
    """Fetch what this worker is likely to need next, if it is not at that already."""
    try:
        followed = _ahead().follow(FetchAhead.decode(hint))
    except MessageError as error:
        _log.error("a hint was refused: %s", error)
        return {"error": "not a hint of this version"}
    return {"ok": "fetching" if followed else "busy with another"}
