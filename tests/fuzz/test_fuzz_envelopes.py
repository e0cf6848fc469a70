"""Whatever lies in a queue is refused as no message, or is one that Celery makes a request of."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport.virtual import Base64, Message

from specs.errors import MessageError
from specs.messages import RUN_BATCH
from specs.processes.envelopes import command_message, task_message
from tests.support.fuzzing import fuzz, mutated_bytes, mutated_json
from tests.support.rotten_messages import command, encoded, envelope

CHANNEL: Any = SimpleNamespace(decode_body=lambda body, _encoding: Base64().decode(body), no_ack_consumers=None)
HANDLED = (InvalidTaskError, ContentDisallowed, DecodeError)
"""What Celery's consumer logs and drops: Consumer.create_task_handler."""

app = Celery("fuzzed", set_as_current=False)


@app.task(name=RUN_BATCH, shared=False)
def run_batch(_message: object) -> None:
    """Known to Celery."""


def read_and_request(raw: bytes) -> None:
    """As the worker takes it."""
    with contextlib.suppress(MessageError):
        message = Message(json.loads(task_message(raw, "pool.cpu")), channel=CHANNEL)
        assert not message.errors
        with contextlib.suppress(*HANDLED):
            request: Any = Request(
                message, app=app, task=run_batch, headers=message.headers, body=message.body, decoded=False
            )
            assert not any(request.time_limits)
            assert not request.revoked() or request.expires is not None
            assert not any((request._payload[2] or {}).values())


BODY = [[{"version": 1}], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
GOOD = envelope(RUN_BATCH, {"version": 1}, queue="pool.cpu")
ANOTHER_BODY = mutated_json(BODY).map(lambda body: json.dumps(GOOD | {"body": encoded(body)}).encode())


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(st.binary(max_size=300), id="bytes"),
        pytest.param(mutated_bytes(json.dumps(GOOD).encode()), id="damaged"),
        pytest.param(mutated_json(GOOD).map(lambda found: json.dumps(found).encode()), id="changed"),
        pytest.param(ANOTHER_BODY, id="another body"),
    ],
)
def test_messages_in_queues(request: pytest.FixtureRequest, inputs: st.SearchStrategy[bytes]) -> None:
    fuzz(f"messages {request.node.callspec.id}", inputs, read_and_request)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(st.binary(max_size=300), id="bytes"),
        pytest.param(
            mutated_json(command("drop_attempt", {"attempt": 1})).map(lambda found: json.dumps(found).encode()),
            id="changed",
        ),
    ],
)
def test_commands(request: pytest.FixtureRequest, inputs: st.SearchStrategy[bytes]) -> None:
    def check(raw: bytes) -> None:
        with contextlib.suppress(MessageError):
            read = command_message(raw)
            assert read is None or json.loads(read)["headers"].keys() == {"clock", "ticket"}

    fuzz(f"commands {request.node.callspec.id}", inputs, check)
