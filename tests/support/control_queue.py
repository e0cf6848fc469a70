"""What workers have said, taken from the control queue by a test that plays the control plane."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import redis

from specs.messages import ATTEMPTS_ALIVE, CONTROL_QUEUE, REPORT, WORKER_ALIVE, AttemptsAlive, Report, WorkerAlive

KINDS: dict[str, type[AttemptsAlive] | type[Report] | type[WorkerAlive]] = {
    ATTEMPTS_ALIVE: AttemptsAlive,
    REPORT: Report,
    WORKER_ALIVE: WorkerAlive,
}


def taken(broker: str) -> Iterator[AttemptsAlive | Report | WorkerAlive]:
    """Take all that has come."""
    with redis.Redis.from_url(broker) as client:
        while (raw := client.rpop(CONTROL_QUEUE)) is not None:
            assert isinstance(raw, bytes)
            envelope = json.loads(raw)
            assert envelope["content-type"] == "application/json"
            body = json.loads(base64.b64decode(envelope["body"]))[0][0]
            yield KINDS[envelope["headers"]["task"]].decode(body)
