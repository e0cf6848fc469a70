"""Ties a worker's presence to Celery: a thread beside the consumer, the queue that it takes from, the word it sends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready, worker_shutting_down
from celery.worker import state as celery_state

from specs.messages import CONTROL_QUEUE, WORKER_ALIVE, WorkerAlive
from specs.queues import own_queue
from workers.batches.workbench import shared_state_of
from workers.broker_clock import expiry
from workers.engines.devices import Machine, devices_for
from workers.presence.presence import Consumption, Presence, Self
from workers.runs.circumstances import hardware
from workers.settings import WorkerSettings

_KEPT_WORDS = 3
"""In intervals: a word that is older says nothing of now."""

_MAX_WAITING = 10_000
"""Messages in the control queue beyond which no further word is added: nobody is there to hear them."""

_log = logging.getLogger(__name__)


class _Queues:
    """The worker's own queue and its pool's, as Celery's consumer takes from them."""

    def __init__(self, consumer: Any, queues: Sequence[str], heed: Callable[[], None]) -> None:
        self._consumer = consumer
        self._queues = queues
        self._heed = heed

    def pause(self) -> None:
        self._consumer.call_soon(self._cancel)

    def resume(self) -> None:
        self._consumer.call_soon(self._add)

    def _cancel(self) -> None:
        # While the consumer connects anew there is nothing to cancel: it then begins with what is selected.
        self._consumer.app.amqp.queues.deselect(self._queues)
        if self._consumer.task_consumer is not None:
            for queue in self._queues:
                self._consumer.task_consumer.cancel_by_queue(queue)
        self._heed()

    def _add(self) -> None:
        queues = self._consumer.app.amqp.queues
        tasks = self._consumer.task_consumer
        for name in self._queues:
            queue = queues.select_add(queues[name])
            if tasks is not None and not tasks.consuming_from(queue):
                tasks.add_queue(queue)
                tasks.consume()


def attend(app: Celery, settings: WorkerSettings) -> None:
    """Have every worker of this app speak of itself once it is ready."""
    found: list[Presence] = []

    @celeryd_after_setup.connect(weak=False)
    def _take_own_first(sender: str, instance: Any, **_: object) -> None:
        # Redis is asked for the queues in this order.
        instance.app.amqp.queues.select([own_queue(settings.pool, sender), settings.queue])

    @worker_ready.connect(weak=False)
    def _begin(sender: Any, **_: object) -> None:
        shared = shared_state_of(settings)
        # An earlier process's quarantine is no news of this one; its engine's note goes with the engine.
        shared.quarantine(None)
        devices = devices_for(settings.gpus)
        gpus = 0 if isinstance(devices, Machine) else len(devices.look())
        who = Self(str(sender.hostname), settings.pool, hardware(gpus), settings.alive_seconds)
        consumption: Consumption = _Queues(sender, list(sender.app.amqp.queues.consume_from), shared.heed)
        presence = Presence(who, shared, devices, lambda message: _send(app, message), consumption)
        presence.busy = lambda: bool(celery_state.active_requests)
        found.append(presence)
        threading.Thread(target=presence.run, args=(threading.Event(),), name="presence", daemon=True).start()

    @worker_shutting_down.connect(weak=False)
    def _drain(**_: object) -> None:
        for presence in found:
            presence.draining = True


def _send(app: Celery, message: WorkerAlive) -> None:
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        # Private, and the only way to ask: a list's length.
        channel: Any = connection.default_channel
        if channel._size(CONTROL_QUEUE) > _MAX_WAITING:
            _log.warning("the control queue is full; nobody seems to read it")
            return
        app.send_task(
            WORKER_ALIVE,
            args=[message.encode()],
            queue=CONTROL_QUEUE,
            connection=connection,
            expires=expiry(connection, _KEPT_WORDS * message.every_seconds),
            retry=False,
        )
