"""What Celery and kombu get to read of what lies in a queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from specs.errors import MessageError
from specs.messages import DROP_ATTEMPT, REPORT, RUN_BATCH
from specs.processes import envelopes
from specs.processes.envelopes import command_message, is_for_replies, reply_message, task_message, why_unreadable
from tests.support.rotten_messages import HARMLESS, command, encoded, envelope, rotten, rotten_commands

ROTTEN = rotten(RUN_BATCH, "pool.cpu", {"a": 1})
ROTTEN_COMMANDS = rotten_commands()


def read(message: dict[str, Any], queue: str = "pool.cpu") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(task_message(json.dumps(message).encode(), queue))
    return found


def sent_by_celery(argument: object = None, **options: Any) -> dict[str, Any]:
    """A message as Celery and kombu of this environment make it."""
    with Celery("sender", broker="memory://", task_serializer="json", task_ignore_result=True) as app:
        app.send_task(REPORT, args=[argument or {"a": 1}], queue="control", task_id="one", **options)
        with app.connection_for_read() as connection:
            message: Any = connection.SimpleQueue("control").get(timeout=10)
            return dict(message._raw)


@pytest.mark.parametrize("options", [{}, {"expires": 30}, {"countdown": 30}, {"retries": 3, "root_id": "first"}])
def test_nothing_is_lost_of_what_our_apps_send(options: dict[str, Any]) -> None:
    sent = sent_by_celery(**options)
    found = read(sent, "control")
    assert (found["headers"], found["body"]) == (sent["headers"], sent["body"])
    assert (found["content-type"], found["content-encoding"]) == ("application/json", "utf-8")


def test_nothing_is_lost_of_what_celery_tries_again() -> None:
    first = sent_by_celery()
    with Celery("retries", broker="memory://", task_serializer="json", task_ignore_result=True) as app:

        @app.task(name=REPORT, bind=True, max_retries=None, shared=False)
        def take_report(_self: object, _body: object) -> None:
            """Is tried again."""

        task: Any = take_report
        delivery = {"exchange": "", "routing_key": "control", "priority": 0}
        request = {**first["headers"], "args": [{"a": 1}], "kwargs": {}, "delivery_info": delivery}
        task.push_request(**request, called_directly=False)
        task.retry(countdown=5, throw=False)
        with app.connection_for_read() as connection:
            message: Any = connection.SimpleQueue("control").get(timeout=10)
            sent = dict(message._raw)
    found = read(sent, "control")
    assert (found["headers"]["id"], found["headers"]["retries"]) == ("one", 1)
    assert (found["headers"], found["body"]) == (sent["headers"], sent["body"])


def test_what_is_put_back_is_read_again() -> None:
    taken = read(envelope(RUN_BATCH, {"a": 1}, queue="pool.cpu"))
    # As kombu marks it: Channel._do_restore_message.
    taken["headers"]["redelivered"] = taken["properties"]["delivery_info"]["redelivered"] = True
    assert read(taken)["body"] == taken["body"]


@pytest.mark.parametrize("name", sorted(ROTTEN.keys() - HARMLESS))
def test_what_is_no_message_of_ours_is_refused(name: str) -> None:
    with pytest.raises(MessageError):
        task_message(ROTTEN[name], "pool.cpu")


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_what_nobody_needs_is_left_out(name: str) -> None:
    good, found = read(envelope(RUN_BATCH, {"a": 1})), read(json.loads(ROTTEN[name]))
    for message in (good, found):
        # Its name and its arguments are its own, and so is its tag.
        del message["headers"]["id"], message["headers"]["root_id"], message["properties"]["delivery_tag"]
        del message["body"]
    assert found == good


def test_no_two_messages_are_one_to_kombu() -> None:
    tags = [read(envelope(RUN_BATCH, {}))["properties"]["delivery_tag"] for _ in range(2)]
    assert len(set(tags)) == 2


def test_each_queue_takes_the_tasks_of_its_room() -> None:
    assert read(envelope(REPORT, {}), "control")
    wrong = ((REPORT, "pool.cpu"), (RUN_BATCH, "control"), ("celery.starmap", "control"), (RUN_BATCH, "unacked"))
    for task, queue in wrong:
        with pytest.raises(MessageError):
            read(envelope(task, {}), queue)


def test_a_message_goes_back_to_where_it_was_taken_from() -> None:
    message = envelope(RUN_BATCH, {}, queue="control")
    assert read(message, "pool.cpu")["properties"]["delivery_info"] == {"exchange": "", "routing_key": "pool.cpu"}


@pytest.mark.parametrize(
    ("queue", "most"), [("control", envelopes.MAX_CONTROL_BYTES), ("pool.cpu", envelopes.MAX_POOL_BYTES)]
)
def test_a_message_beyond_all_measure_is_refused_before_it_is_read(queue: str, most: int) -> None:
    with pytest.raises(MessageError, match="is the most"):
        task_message(b"[" * (most + 1), queue)


def test_a_body_of_very_many_values_is_refused_before_they_take_room() -> None:
    arguments = b"[" + b"[]," * (envelopes.MAX_VALUES // 2) + b"[]]"
    with pytest.raises(MessageError, match="more than 1000000 values"):
        read(envelope(RUN_BATCH) | {"body": encoded(b"[" + arguments + b", {}, {}]")})


@pytest.mark.parametrize("name", ROTTEN_COMMANDS)
def test_what_is_no_command_of_ours_is_refused(name: str) -> None:
    with pytest.raises(MessageError):
        command_message(ROTTEN_COMMANDS[name])


def test_a_command_is_passed_on_without_patterns() -> None:
    given = command(DROP_ATTEMPT, {"reproduction_id": "r", "attempt": 1}, pattern="(a+)+$", matcher="pcre")
    read_again = command_message(json.dumps(given).encode())
    assert read_again is not None
    with Connection("memory://") as connection:
        channel: Any = connection.default_channel
        body = json.loads(channel.decode_body(json.loads(read_again)["body"], "base64"))
    assert body == {
        "method": DROP_ATTEMPT,
        "arguments": {"reproduction_id": "r", "attempt": 1},
        "destination": None,
        "ticket": None,
        "reply_to": None,
    }


def test_a_greeting_between_workers_is_not_worth_a_word() -> None:
    assert command_message(json.dumps(command("hello", {"from_node": "w@h", "revoked": []})).encode()) is None


def test_an_answer_to_a_command_is_read() -> None:
    queue = "9bcd3877.reply.celery.pidbox"
    assert is_for_replies(queue)
    assert not is_for_replies("pool.cpu")
    answer = command("ping") | {"body": encoded({"w@h": {"ok": "pong"}}), "headers": {"ticket": "t", "clock": 3}}
    found = json.loads(reply_message(json.dumps(answer).encode(), queue))
    assert (found["headers"], found["body"]) == (answer["headers"], answer["body"])
    with pytest.raises(MessageError):
        reply_message(json.dumps(answer | {"body": encoded([1])}).encode(), queue)


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ({"a": "x" * 6_000_000}, None),
        ({"a": "x" * 6_300_000}, "8388608 is the most that is read"),
        # Six characters each, as JSON is sent.
        ({"a": "ä" * 1_050_000}, "8388608 is the most that is read"),
        ({"a": [0] * 999_000}, None),
        ({"a": [0] * 1_001_000}, "1000000 is the most that is read"),
    ],
)
def test_who_sends_knows_what_would_be_refused_for_its_size(argument: dict[str, Any], why: str | None) -> None:
    sent = sent_by_celery(argument)
    said = why_unreadable(argument, "control")
    if why is None:
        assert said is None
        read(sent, "control")
    else:
        assert said is not None
        assert why in said
        with pytest.raises(MessageError):
            read(sent, "control")
