"""`python -m workers.presence.probe NAME`: does the worker of that name on this machine answer? For a liveness probe.

It ends with 1 if the broker is there and the worker does not answer: it lives and does not consume any more. A broker
that is away is no fault of the worker's: ending it would cost its runs, all over the farm at once.
"""

from __future__ import annotations

import socket
import sys

from celery import Celery
from kombu.exceptions import OperationalError

from specs.processes.broker import celery_settings
from workers.settings import read_settings

PATIENCE_SECONDS = 20.0


def answers(broker_url: str, worker: str, patience_seconds: float = PATIENCE_SECONDS) -> bool | None:
    """Whether a worker, by its Celery name, answers within that time; None where the broker does not."""
    app = Celery("probe", set_as_current=False)
    app.conf.update(celery_settings(broker_url))
    try:
        with app.connection_for_write() as connection:
            # Once: by itself it would try again until the probe's time is up, which counts as a fault of the worker.
            connection.ensure_connection(max_retries=1)
            found = app.control.ping([worker], timeout=patience_seconds, connection=connection)
    except (OperationalError, OSError):
        return None
    return bool(found)


def main(arguments: list[str]) -> int:
    """Ask the worker whose name is the argument, without the machine's."""
    worker = f"{arguments[0]}@{socket.gethostname()}"
    found = answers(read_settings().broker_url.get_secret_value(), worker)
    if not found:
        who = "the broker" if found is None else worker
        sys.stdout.write(f"{who} does not answer\n")
    return int(found is False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
