"""Requests to engines on this machine: plain HTTP, past every proxy, on a connection each."""

from __future__ import annotations

import ssl

import httpx

# Without authorities, whose loading takes 20 ms of CPU for each client that is made. Nothing here is asked by HTTPS.
local_http = httpx.Client(
    trust_env=False,
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    limits=httpx.Limits(max_keepalive_connections=0),
)
