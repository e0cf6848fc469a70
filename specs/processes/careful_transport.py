"""kombu's transport for Redis, which takes nothing from it that is no message of this farm's.

kombu (5.7) reads what a queue holds in the middle of Celery's loop, and what it raises there ends the process, or has
it connect anew. Here each reply of Redis is read before kombu sees it
(specs/processes/envelopes.py). What is refused is said in the log, counted, and the last of it kept; kombu then goes on
as if nothing had come. Celery's setting `broker_transport` names this module.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from specs.errors import MessageError
from specs.processes.envelopes import command_message, is_for_replies, reply_message, task_message
from specs.queues import REFUSED, REFUSED_COUNT, kind_of
from specs.text import clean

KEPT = 50
"""Refused messages of which the farm keeps a copy in Redis, the latest first."""

KEPT_BYTES = 2**18
"""Of each, from its beginning: a whole report of hours of work."""

SHOWN_BYTES = 200
"""Of each in the log."""

_COMMANDS = b".celery.pidbox"
"""End of the topic on which remote-control commands are published."""

_log = logging.getLogger(__name__)

Read = Callable[[list[Any]], list[Any] | None]
"""A reply of Redis that has a message in it, or None where that is refused."""


class _PubSub(redis.client.PubSub):
    """Hands on what was published and is worth reading."""

    def __init__(self, *args: Any, read: Read, **options: Any) -> None:
        self._read = read
        super().__init__(*args, **options)

    def parse_response(self, *args: Any, **options: Any) -> Any:
        """The next reply; None where there is none, or it was refused."""
        reply = super().parse_response(*args, **options)  # type: ignore[no-untyped-call]
        if isinstance(reply, list) and reply and reply[0] in (b"message", b"pmessage"):
            return self._read(reply)
        return reply


class _Client(redis.Redis):
    """Hands on what was taken from a queue and is a message."""

    def __init__(self, *args: Any, taken: Read, published: Read, **options: Any) -> None:
        self._taken = taken
        self._published = published
        super().__init__(*args, **options)

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """The reply; of BRPOP None, as after its time is out, where what it took was refused."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        return self._taken(reply) if command_name == "BRPOP" and reply else reply

    def pubsub(self, **options: Any) -> _PubSub:
        """As kombu makes its own: kombu.transport.redis.PrefixedStrictRedis."""
        return _PubSub(self.connection_pool, read=self._published, **options)


class _QoS(kombu_redis.QoS):
    """Keeps what is taken and not yet acknowledged, and puts it back where its process died."""

    channel: Any  # the types of kombu know little of it

    def append(self, message: Any, delivery_tag: str) -> None:
        """Keep one that was taken."""
        try:
            super().append(message, delivery_tag)
        except redis.ResponseError:
            # It is in no queue any more.
            self._keep_types()
            super().append(message, delivery_tag)

    def _keep_types(self) -> None:
        self.channel.keep_types({self.unacked_key: b"hash", self.unacked_index_key: b"zset"})

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Put back what was taken long ago. Called when the process connects, and then now and then."""
        self._keep_types()
        with self.channel.conn_or_acquire() as client:
            if client.ttl(self.unacked_mutex_key) == -1:
                # kombu always sets when its lock runs out; this one would keep everything from being put back.
                client.delete(self.unacked_mutex_key)
        super().restore_visible(*args, **options)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put one back, if it is what `append` has written."""
        with self.channel.conn_or_acquire(client) as connected:
            kept = connected.hget(self.unacked_key, tag)
            if kept is None or _is_restorable(kept):
                super().restore_by_tag(tag, connected, leftmost)
                return
            connected.pipeline().zrem(self.unacked_index_key, tag).hdel(self.unacked_key, tag).execute()
        self.channel.refuse("unacked", kept, "was not written by this farm")


def _is_restorable(kept: bytes) -> bool:
    """Whether kombu can put that back: a message that was read before it was kept, its exchange and its queue."""
    try:
        message, exchange, queue = json.loads(kept)
        task_message(json.dumps(message).encode(), str(queue))
    except (ValueError, TypeError, RecursionError, MessageError):
        return False
    return exchange == "" and isinstance(queue, str)


class Channel(kombu_redis.Channel):
    """Takes messages of this farm from its queues, and leaves keys of other types than kombu's no room there."""

    QoS = _QoS
    keyprefix_binding_permanent: str
    keyprefix_binding_deadlines: str
    _q_for_pri: Callable[[str, int], str]
    pool: redis.ConnectionPool
    _pooled: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        # kombu makes one for every command, and each fills a table of how replies are read.
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]  # kombu's, which has no types
        # After a fork or a lost connection there is another pool.
        if self._pooled is None or self._pooled.connection_pool is not self.pool:
            self._pooled = super()._create_client()  # type: ignore[misc]
        return self._pooled

    def _get_client(self) -> Callable[..., _Client]:
        return functools.partial(_Client, taken=self._taken, published=self._published)

    def _taken(self, reply: list[Any]) -> list[Any] | None:
        key, raw = reply
        queue = key.decode().rsplit(self.sep, 1)[0]
        try:
            read = reply_message if is_for_replies(queue) else task_message
            return [key, read(raw, queue)]
        except MessageError as error:
            self.refuse(queue, raw, str(error))
            return None

    def _published(self, reply: list[Any]) -> list[Any] | None:
        *about, topic, raw = reply
        if not topic.endswith(_COMMANDS):
            # Events of other programs of Celery's: nobody here listens to them.
            return None
        try:
            read = command_message(raw)
        except MessageError as error:
            self.refuse("commands", raw, str(error))
            return None
        return [*about, topic, read] if read is not None else None

    def refuse(self, source: str, raw: bytes, why: str) -> None:
        """Say that something is dropped, count it, and keep it for whoever wants to know what it was."""
        shown = clean(repr(raw[:SHOWN_BYTES])[2:-1], SHOWN_BYTES)
        _log.error("refused what was taken from %s (%d bytes: %s): %s", clean(source, 100), len(raw), shown, why)
        try:
            self.keep_types({REFUSED: b"list", REFUSED_COUNT: b"hash"})
            with self.conn_or_acquire() as client, client.pipeline() as pipe:
                pipe.lpush(REFUSED, raw[:KEPT_BYTES]).ltrim(REFUSED, 0, KEPT - 1)
                pipe.hincrby(REFUSED_COUNT, kind_of(source), 1).execute()
        except (redis.RedisError, OSError) as error:
            _log.warning("what was refused is not kept and not counted: %s", error)

    def keep_types(self, types: Mapping[str, bytes]) -> None:
        """Put aside what stands under these keys and is of another type: every command to it would fail for ever.

        It may be another program's that shares the database, so it is renamed and not deleted.
        """
        with self.conn_or_acquire() as client:
            with client.pipeline() as pipe:
                for key in types:
                    pipe.type(key)
                found = pipe.execute()
            for (key, wanted), is_type in zip(types.items(), found, strict=True):
                if is_type not in (wanted, b"none"):
                    aside = f"{REFUSED}.{key}"
                    _log.error(
                        "%s is a %s in Redis and has to be a %s: renamed to %s",
                        key,
                        is_type.decode(),
                        wanted.decode(),
                        aside,
                    )
                    # Somebody else may have seen it too.
                    with contextlib.suppress(redis.ResponseError):
                        client.rename(key, aside)

    def _new_queue(self, queue: str, **options: Any) -> None:
        super()._new_queue(queue, **options)
        self._keep_queue(queue)

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        try:
            super()._put(queue, message, **options)
        except redis.ResponseError:
            self._keep_queue(queue)
            super()._put(queue, message, **options)

    def _keep_queue(self, queue: str) -> None:
        self.keep_types({self._q_for_pri(queue, priority): b"list" for priority in self.priority_steps})

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        sets = (self.keyprefix_queue % exchange, self.keyprefix_binding_permanent % exchange)
        self.keep_types({**dict.fromkeys(sets, b"set"), self.keyprefix_binding_deadlines: b"zset"})
        super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]  # kombu's, which has no types


class Transport(kombu_redis.Transport):
    """The transport of such channels."""

    Channel = Channel
