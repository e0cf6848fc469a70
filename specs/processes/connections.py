"""Time-outs and keep-alives: how soon a process notices that whom it is connected to has vanished without a word.

A machine that lost its power, or a network that swallows what is sent, closes no connection. Linux by default notices
after a quarter of an hour where something was sent (`tcp_retries2`), and after two hours, or never, where an answer is
waited for (`tcp_keepalive_time`): https://man7.org/linux/man-pages/man7/tcp.7.html.
"""

from __future__ import annotations

import socket
from typing import Any

CONNECT_SECONDS = 10
IDLE_SECONDS = 10
"""Without a word, after which the other end is asked whether it is there."""

PROBE_SECONDS, PROBES = 5, 3
"""Between two such questions, and how many stay without an answer."""

SENT_SECONDS = 30
"""In which what was sent has to arrive."""

ANSWER_SECONDS = 30
"""In which the broker answers. It is asked for messages once a second, so that one that has none answers too."""

KEEPALIVE = {
    socket.TCP_KEEPIDLE: IDLE_SECONDS,
    socket.TCP_KEEPINTVL: PROBE_SECONDS,
    socket.TCP_KEEPCNT: PROBES,
    socket.TCP_USER_TIMEOUT: 1000 * SENT_SECONDS,
}

BROKER: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": ANSWER_SECONDS,
    "socket_keepalive": True,
    "socket_keepalive_options": KEEPALIVE,
}
"""Of connections to Redis, as redis-py and kombu's transport name them."""
