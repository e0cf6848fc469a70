"""What may lie in a queue: messages as our Celery apps write them, and nothing else.

Whoever has the broker's password can put anything there, and kombu and Celery (5.7) raise what they stumble over out of
their loop, which ends the process. So each message is read here first, and they get what was understood, written anew:
what nobody here needs (compression, somebody to answer to, headers that are not known) is not in it.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from specs.errors import MessageError
from specs.messages import DROP_ATTEMPT, FETCH_AHEAD, Name, said
from specs.queues import QueueKind, kind_of
from specs.text import clean

MAX_CONTROL_BYTES = 8 * 2**20
"""Of a message to the control plane: more than a heartbeat takes that names as many attempts as one may."""

MAX_POOL_BYTES = 64 * 2**20
"""Of one to a worker: with what is predicted of each sample, a batch can take megabytes."""

MAX_COMMAND_BYTES = 2**20

MAX_VALUES = 1_000_000
"""In one body, counted by its commas and brackets: a list of nothing takes three bytes there, and sixty in memory."""

MAX_ETA = timedelta(days=7)
"""From now. Until then it is held in memory; nothing here waits for longer than the Hub asks for."""

COMMANDS = (DROP_ATTEMPT, FETCH_AHEAD, "ping", "active_queues")
"""What a worker does when it is told by remote control: two of ours, the chart's probe, and a look for an operator. Not
`shutdown`, `revoke`, `pool_restart`, `rate_limit` and what else Celery offers to anybody."""

GREETING = "hello"
"""What Celery's workers ask of each other when they start, unless they are told not to."""

AROUND_BODY_BYTES = 2**14
"""More than Celery and kombu write around a body."""

_REPLIES = "reply.celery.pidbox"
_ROOMS: dict[QueueKind, tuple[str, ...]] = {"control": ("scheduler.",), "pool": ("workers.",), "other": ()}
"""Beginnings of the names of tasks that are sent to a queue."""

Text = Annotated[str, Field(max_length=200)]
Shown = Annotated[str, Field(max_length=5000)]


def _moment(text: str) -> str:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or not 2000 <= at.year < 3000:
        raise ValueError("not a moment with a time zone")
    return text


def _soon(text: str) -> str:
    if datetime.fromisoformat(text) > datetime.now(UTC) + MAX_ETA:
        raise ValueError(f"later than in {MAX_ETA.days} days")
    return text


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]


class _Part(BaseModel):
    """Strict about what it knows. What it does not know is left out, so that a later Celery may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Headers(_Part):
    """Of a task, by Celery's protocol 2: https://docs.celeryq.dev/en/stable/internals/protocol.html."""

    lang: Literal["py"] = "py"
    task: Annotated[str, Field(max_length=100, pattern=r"^(scheduler|workers)\.[a-z_]+$")]
    id: Name
    shadow: None = None
    eta: Annotated[Moment, AfterValidator(_soon)] | None = None
    expires: Moment | None = None
    group: None = None
    group_index: None = None
    retries: Annotated[int, Field(ge=0, lt=2**31)] = 0
    timelimit: tuple[None, None] = (None, None)
    root_id: Name | None = None
    parent_id: Name | None = None
    argsrepr: Shown = ""
    kwargsrepr: Shown = ""
    origin: Text | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: Literal[0] = 0
    stamped_headers: None = None
    stamps: Annotated[dict[str, None], Field(max_length=0)] = {}


class _Embedded(BaseModel):
    """What Celery would send on when a task is done. Nothing here has any of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class _Properties(_Part):
    body_encoding: Literal["base64"]
    priority: Annotated[int, Field(ge=0, le=9)] = 0


class _Envelope(_Part):
    """What kombu's virtual transports put around every message."""

    body: str
    content_type: Annotated[Literal["application/json"], Field(alias="content-type")]
    content_encoding: Annotated[Literal["utf-8"], Field(alias="content-encoding")]
    properties: _Properties


class _Task(_Envelope):
    headers: _Headers


class _CommandHeaders(_Part):
    clock: Annotated[int, Field(ge=0, lt=2**53)] = 0
    ticket: Text | None = None


class _Command(_Envelope):
    headers: _CommandHeaders


class _AnswerTo(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    exchange: Literal["reply.celery.pidbox"]
    routing_key: Text


class _Order(_Part):
    """The body of a command. Without patterns of names: one can be made to be matched for ever."""

    method: Name
    arguments: dict[str, Any] | None = None
    destination: Annotated[list[Text], Field(max_length=1000)] | None = None
    ticket: Text | None = None
    reply_to: _AnswerTo | None = None


_Arguments = tuple[list[Any], Annotated[dict[str, None], Field(max_length=0)], _Embedded]
_BODY: TypeAdapter[_Arguments] = TypeAdapter(_Arguments)
_REPLY: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])

E = TypeVar("E", bound=_Envelope)
V = TypeVar("V")


def task_message(raw: bytes, queue: str) -> bytes:
    """A message that was taken from a queue, as kombu is to read it.

    Raises:
        MessageError: it is none of those that are sent to that queue.
    """
    kind = kind_of(queue)
    envelope = _read(_Task, raw, _most_bytes(kind))
    if not envelope.headers.task.startswith(_ROOMS[kind]):
        raise MessageError(f"no task of queue {clean(queue, 100)}")
    _checked(_BODY.validate_json, _body_of(envelope))
    return _written(envelope, envelope.headers.model_dump(), {"exchange": "", "routing_key": queue})


def why_unreadable(argument: Mapping[str, object], kind: QueueKind) -> str | None:
    """Why a task with that argument would be refused for its size where that queue is read, and so is not to be sent.

    In words that go on from what it is; None where it is read.
    """
    body = json.dumps([[argument], {}, _Embedded().model_dump()]).encode()
    most, sent = _most_bytes(kind), -(-len(body) // 3) * 4 + AROUND_BODY_BYTES
    if sent > most:
        return f"takes some {sent} bytes, and {most} is the most that is read"
    values = _values_in(body)
    return f"holds some {values} values, and {MAX_VALUES} is the most that is read" if values > MAX_VALUES else None


def command_message(raw: bytes) -> bytes | None:
    """A remote-control command, as kombu is to read it; None where it is one that is not worth a word.

    Raises:
        MessageError: it is none that this farm gives.
    """
    envelope = _read(_Command, raw, MAX_COMMAND_BYTES)
    order = _checked(_Order.model_validate_json, _body_of(envelope))
    if order.method == GREETING:
        return None
    if order.method not in COMMANDS:
        raise MessageError(f"no command of this farm's: {order.method}")
    body = base64.b64encode(order.model_dump_json().encode()).decode()
    written = envelope.model_copy(update={"body": body})
    return _written(written, envelope.headers.model_dump(), {"exchange": "celery.pidbox", "routing_key": ""})


def reply_message(raw: bytes, queue: str) -> bytes:
    """An answer to a remote-control command, as kombu is to read it.

    Raises:
        MessageError: it is none.
    """
    envelope = _read(_Command, raw, MAX_COMMAND_BYTES)
    _checked(_REPLY.validate_json, _body_of(envelope))
    return _written(envelope, envelope.headers.model_dump(), {"exchange": _REPLIES, "routing_key": queue})


def is_for_replies(queue: str) -> bool:
    """Whether that is the queue of somebody who waits for answers to a command."""
    return queue.endswith(f".{_REPLIES}")


def _most_bytes(kind: QueueKind) -> int:
    return MAX_CONTROL_BYTES if kind == "control" else MAX_POOL_BYTES


def _values_in(body: bytes) -> int:
    return sum(body.count(each) for each in (b",", b"[", b"{"))


def _read(kind: type[E], raw: bytes, most: int) -> E:
    if len(raw) > most:
        raise MessageError(f"a message of {len(raw)} bytes, and {most} is the most")
    return _checked(kind.model_validate_json, raw)


def _checked(validate_json: Callable[[bytes], V], raw: bytes) -> V:
    try:
        # pydantic's parser gives up at 200 levels.
        return validate_json(raw)
    except (ValidationError, OverflowError, RecursionError) as error:
        raise MessageError(f"no message of Celery's: {said(error)}") from None


def _body_of(envelope: _Envelope) -> bytes:
    try:
        body = base64.b64decode(envelope.body, validate=True)
    except ValueError as error:
        raise MessageError(f"its body is not Base64: {error}") from None
    if _values_in(body) > MAX_VALUES:
        raise MessageError(f"its body may hold more than {MAX_VALUES} values")
    return body


def _written(envelope: _Envelope, headers: dict[str, Any], delivery: dict[str, str]) -> bytes:
    """With a tag of our own: by that kombu keeps what is not yet acknowledged, and two of one tag are one to it."""
    properties = {
        "delivery_mode": 2,
        "delivery_tag": str(uuid.uuid4()),
        "delivery_info": delivery,
        **envelope.properties.model_dump(),
    }
    found = {
        "body": envelope.body,
        "content-type": envelope.content_type,
        "content-encoding": envelope.content_encoding,
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(found).encode()
