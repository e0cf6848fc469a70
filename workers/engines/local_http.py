"""Requests to engines on this machine: plain HTTP, past every proxy, on a connection each."""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpx2


@cache
def local_http() -> httpx2.Client:
    """The client of this process."""
    return httpx2.Client(
        trust_env=False,
        # Without authorities, whose loading takes 20 ms of CPU for each client. Nothing here is asked by HTTPS.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        limits=httpx2.Limits(max_keepalive_connections=0),
    )


# It has a lock, which a thread of a worker's main process may hold while that forks another child: there it would be
# held for ever, and the child wait for it with its lease renewed.
os.register_at_fork(after_in_child=local_http.cache_clear)
