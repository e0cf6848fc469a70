"""What somebody with the broker's password may put where a message of Celery's should be."""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

DEEP = 100_000
"""Levels: more than the interpreter's stack."""

MEBIBYTE = 2**20


def envelope(task: str, *arguments: object, message_id: str = "made-up", queue: str = "control") -> dict[str, Any]:
    """A message as kombu 5.7 and Celery 5.7 (protocol 2) write it."""
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": encoded([list(arguments), {}, embedded]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": message_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": message_id,
            "parent_id": None,
            "argsrepr": "[]",
            "kwargsrepr": "{}",
            "origin": "gen1@farm",
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": message_id,
            "reply_to": "d0520326-3315-3bdc-b03e-f799a30983d7",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": f"tag-of-{message_id}",
        },
    }


def encoded(body: object) -> str:
    """A body as it travels."""
    return base64.b64encode(body if isinstance(body, bytes) else json.dumps(body).encode()).decode()


def command(method: str, arguments: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    """A remote-control command to all workers."""
    body = {"method": method, "arguments": arguments or {}, "destination": None, "pattern": None, "matcher": None}
    return {
        "body": encoded({**body, **more}),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": None},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "a991681b-781b-4c06-9a1e-bde804f127a2",
        },
    }


NO_MESSAGES: dict[str, bytes] = {
    "no UTF-8": b"\xff\xfe\x00",
    "not JSON": b"hello",
    "no value": b"null",
    "an empty string": b"",
    "a number": b"7",
    "infinity": b"Infinity",
    "a number of 5000 digits": b"9" * 5000,
    "a list": b"[]",
    "an empty object": b"{}",
    "a deep list": b"[" * DEEP + b"]" * DEEP,
    "a deep object": b'{"body":' * DEEP + b"1" + b"}" * DEEP,
    "an object that kombu makes a date of": b'{"__type__":"datetime","__value__":"never"}',
    "an object of a type that nobody knows": b'{"__type__":"module","__value__":"os"}',
    "an object that kombu makes bytes of": b'{"__type__":"bytes","__value__":"x"}',
}
"""Not even an envelope."""


def _with(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    *folders, name = place.split("/")

    def change(message: dict[str, Any]) -> None:
        for folder in folders:
            message = message[folder]
        message[name] = value

    return change


def _without(place: str) -> Callable[[dict[str, Any]], None]:
    *folders, name = place.split("/")

    def change(message: dict[str, Any]) -> None:
        for folder in folders:
            message = message[folder]
        del message[name]

    return change


@cache
def _bomb(pack: Callable[[bytes], bytes]) -> str:
    return encoded(pack(b"[[" + b" " * (16 * MEBIBYTE) + b"], {}, {}]"))


def _compressed(name: str, pack: Callable[[bytes], bytes]) -> Callable[[dict[str, Any]], None]:
    def change(message: dict[str, Any]) -> None:
        message["headers"]["compression"] = name
        message["body"] = _bomb(pack)

    return change


_SIGNATURE: dict[str, Any] = {"task": "scheduler.scan", "args": [], "kwargs": {}, "options": {"queue": "forged"}}
_NESTED = "[" * DEEP + "]" * DEEP

CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    **{f"without {place}": _without(place) for place in (
        "body", "properties", "headers", "content-type", "properties/delivery_tag", "properties/delivery_info",
        "properties/body_encoding", "properties/delivery_info/exchange", "properties/delivery_info/routing_key",
        "headers/id", "headers/task",
    )},
    **{f"{place} is {said}": _with(place, value) for place in (
        "body", "properties", "headers", "content-type", "content-encoding", "properties/delivery_tag",
        "properties/delivery_info", "properties/body_encoding", "properties/delivery_info/exchange",
        "properties/delivery_info/routing_key", "headers/id", "headers/task",
    ) for said, value in (("a number", 7), ("a list", [1]), ("an object", {"a": 1}))},
    "properties are null": _with("properties", None),
    "headers are text": _with("headers", "task"),
    "a body encoding that nobody knows": _with("properties/body_encoding", "rot13"),
    "a body that is not base64": _with("body", "%%%"),
    "a body that is not JSON": _with("body", encoded(b"hello")),
    "a body that is no UTF-8": _with("body", encoded(b"\xff\xfe")),
    "a body that is deep": _with("body", encoded(_NESTED.encode())),
    "a body of two": _with("body", encoded([[], {}])),
    "a body that is an object": _with("body", encoded({"task": "scheduler.scan"})),
    "arguments that are text": _with("body", encoded(["text", {}, {}])),
    "keywords that are a list": _with("body", encoded([[], [], {}])),
    "keywords that nobody takes": _with("body", encoded([[], {"what": 1}, {}])),
    "a body with an infinity": _with("body", encoded(b"[[Infinity], {}, {}]")),
    "a body that kombu makes a date of": _with("body", encoded([[{"__type__": "datetime", "__value__": 1}], {}, {}])),
    "what is embedded is a list": _with("body", encoded([[], {}, [1]])),
    "what is embedded is wrong": _with("body", encoded([[], {}, {"callbacks": 7, "chord": 7, "chain": 7}])),
    "callbacks": _with("body", encoded([[], {}, {"callbacks": [_SIGNATURE]}])),
    "error callbacks": _with("body", encoded([[], {}, {"errbacks": [_SIGNATURE]}])),
    "a chain": _with("body", encoded([[], {}, {"chain": [_SIGNATURE]}])),
    "a chord": _with("body", encoded([[], {}, {"chord": _SIGNATURE}])),
    "a group": _with("headers/group", "forged"),
    "pickles": _with("content-type", "application/x-python-serialize"),
    "YAML": _with("content-type", "application/x-yaml"),
    "bytes as they are": _with("content-type", "application/data"),
    "plain text": _with("content-type", "text/plain"),
    "an encoding that nobody knows": _with("content-encoding", "rot13"),
    "zlib bomb": _compressed("application/x-gzip", zlib.compress),
    "bzip2 bomb": _compressed("bzip2", bz2.compress),
    "xz bomb": _compressed("xz", lzma.compress),
    "a compression that nobody knows": _with("headers/compression", "zoo"),
    "a compression that is a list": _with("headers/compression", [1]),
    "an eta of garbage": _with("headers/eta", "when it suits"),
    "an eta that is a number": _with("headers/eta", 7),
    "an eta in the year 9999": _with("headers/eta", "9999-12-31T23:59:59+00:00"),
    "an eta in the year 1": _with("headers/eta", "0001-01-01T00:00:00+23:59"),
    "an expiry of garbage": _with("headers/expires", "never"),
    "an expiry that is a list": _with("headers/expires", [1]),
    "an expiry without a zone": _with("headers/expires", "2999-01-01T00:00:00"),
    "retries of garbage": _with("headers/retries", "many"),
    "retries without end": _with("headers/retries", 10**400),
    "time limits of garbage": _with("headers/timelimit", "soon"),
    "time limits of text": _with("headers/timelimit", ["a", "b"]),
    "time limits below zero": _with("headers/timelimit", [-1, -1]),
    "three time limits": _with("headers/timelimit", [1, 2, 3]),
    "a time limit that kills": _with("headers/timelimit", [1, None]),
    "a shadow": _with("headers/shadow", "\x1b[2Janother"),
    "a shadow that is a list": _with("headers/shadow", [1]),
    "stamps of garbage": _with("headers/stamped_headers", 7),
    "another stamp": _with("headers/stamped_headers", [[1]]),
    "nesting of garbage": _with("headers/replaced_task_nesting", "deep"),
    "a lone surrogate as id": _with("headers/id", "\ud800"),
    "a lone surrogate as task": _with("headers/task", "\udfff"),
    "a lone surrogate as tag": _with("properties/delivery_tag", "\ud800"),
    "a lone surrogate as body": _with("body", "\ud800"),
    "a task that nobody knows": _with("headers/task", "os.system"),
    "a task of Celery's": _with("headers/task", "celery.backend_cleanup"),
    "an id of a million characters": _with("headers/id", "x" * 10**6),
    "a header of a million characters": _with("headers/argsrepr", "x" * 10**6),
    "another header": _with("headers/__class__", "x"),
    "a priority of garbage": _with("properties/priority", "first"),
    "a priority that is infinite": _with("properties/priority", float("inf")),
    "somebody to answer to": _with("properties/reply_to", "celery.pidbox"),
    "somebody to answer to that is a list": _with("properties/reply_to", [1]),
    "a correlation that is an object": _with("properties/correlation_id", {"a": 1}),
}  # fmt: skip
"""What is done to a good message."""


_DELIVERY = ("delivery_tag", "delivery_info", "delivery_info/exchange", "delivery_info/routing_key")

HARMLESS = {
    *(f"without properties/{part}" for part in _DELIVERY),
    *(f"properties/{part} is {said}" for part in _DELIVERY for said in ("a number", "a list", "an object")),
    "another header",
    "a compression that nobody knows",
    "a compression that is a list",
    "somebody to answer to",
    "somebody to answer to that is a list",
    "a correlation that is an object",
    "a body with an infinity",
    "a body that kombu makes a date of",
}
"""Messages, without what is wrong with them; the last two with arguments that their task refuses."""


def rotten(task: str, queue: str, *arguments: object) -> dict[str, bytes]:
    """All of it, as it would lie in a queue."""
    found = dict(NO_MESSAGES)
    for name, change in CHANGES.items():
        message = envelope(task, *arguments, message_id=f"rotten-{len(found)}", queue=queue)
        change(message)
        found[name] = json.dumps(message).encode()
    old = {"task": task, "id": "rotten-old", "args": list(arguments), "kwargs": {}}
    for name, body in {"protocol 1": old, "protocol 1 without an id": {"task": task}}.items():
        message = envelope(task, queue=queue)
        message |= {"headers": {}, "body": encoded(body)}
        found[name] = json.dumps(message).encode()
    return found


def rotten_commands() -> dict[str, bytes]:
    """What may be published to workers, none of which they do."""
    found = dict(NO_MESSAGES)
    changes: dict[str, dict[str, Any]] = {
        "a body that is not base64": {"body": "%%%"},
        "a body that is a list": {"body": encoded([1])},
        "a body that is deep": {"body": encoded(_NESTED.encode())},
        "no properties": {"properties": {}},
        "headers are text": {"headers": "x"},
        "pickles": {"content-type": "application/x-python-serialize"},
        "a clock that is text": {"headers": {"clock": "late"}},
        "a clock beyond all clocks": {"headers": {"clock": 10**4000}},
    }
    for name, change in changes.items():
        found[name] = json.dumps({**command("ping"), **change}).encode()
    others = {
        "shutdown": command("shutdown"),
        "pool_restart": command("pool_restart"),
        "pool_shrink": command("pool_shrink", {"n": 1}),
        "revoke": command("revoke", {"task_id": ["good", {"a": 1}], "terminate": True}),
        "rate_limit": command("rate_limit", {"task_name": "workers.run_batch", "rate_limit": "1/h"}),
        "time_limit": command("time_limit", {"task_name": "workers.run_batch", "hard": 0.001}),
        "cancel_consumer": command("cancel_consumer", {"queue": "pool.cpu"}),
        "add_consumer": command("add_consumer", {"queue": "elsewhere"}),
        "election": command("election", {"id": "x", "topic": "task", "action": _SIGNATURE}),
        "no command": command("os.system", {"a": "true"}),
        "a command that is an object": command("ping") | {"body": encoded({"method": {"a": 1}})},
        "somebody else to answer to": command("ping", reply_to={"exchange": "", "routing_key": "control"}, ticket="t"),
        "nobody to answer to": command("ping", reply_to=[1], ticket="t"),
    }
    return found | {name: json.dumps(message).encode() for name, message in others.items()}


def wrong_commands() -> dict[str, bytes]:
    """Commands of this farm with arguments that they do not take."""
    return {
        name: json.dumps(message).encode()
        for name, message in {
            "of other names": command("drop_attempt", {"what": 1}),
            "of other types": command("drop_attempt", {"reproduction_id": [1], "attempt": "x"}),
            "a hint that is none": command("fetch_ahead", {"hint": [1]}),
            "a hint that kombu makes a date of": command(
                "fetch_ahead", {"hint": {"__type__": "datetime", "__value__": "never"}}
            ),
            "for all who match a pattern without end": command("ping", pattern="(x+x+)+y", matcher="pcre"),
        }.items()
    }
