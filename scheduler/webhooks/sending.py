"""One try to hand over one message, in the form of Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import httpx2
from standardwebhooks import Webhook as Signed

from scheduler.webhooks.addresses import Unsendable, resolve, split
from specs.text import clean

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
WHOLE_SECONDS = 20.0
"""From the connection to the end of the answer: a byte now and then would else hold up all other messages for days."""

ANSWER_BYTES = 2000
"""What is read of an answer: its beginning, for the log."""


@dataclass(frozen=True)
class Tried:
    """What came of a try."""

    taken: bool
    status: int | None
    detail: str
    for_ever: bool = False
    """The receiver wants nothing more of it (410), or nothing can be sent there."""


def send(url: str, secret: str, message_id: str, body: str, at: datetime, *, private: bool) -> Tried:
    """Hand a message over. Follows no redirect: it would lead past the check of the address."""
    try:
        target = split(url)
        address = resolve(target, private=private)
    except Unsendable as error:
        return Tried(False, None, clean(str(error), 500))
    headers = {
        "host": target.authority,
        "content-type": "application/json",
        "user-agent": "reprofarm",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signed(secret).sign(message_id, at, body),
    }
    host = f"[{address}]" if ":" in address else address
    pinned = f"{target.scheme}://{host}:{target.port}{target.path}"
    try:
        return asyncio.run(_exchange(pinned, target.host, headers, body))
    except TimeoutError:
        return Tried(False, None, f"no whole answer within {WHOLE_SECONDS:g} s")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        # OSError too: what is wrong with TLS after its beginning comes as it is.
        return Tried(False, None, clean(f"{type(error).__name__}: {error}", 500))


async def _exchange(pinned: str, name: str, headers: dict[str, str], body: str) -> Tried:
    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # No proxy and no .netrc of this machine's: they would know other ways. The certificate is that of the name, from an
    # authority that this machine trusts.
    async with (
        asyncio.timeout(WHOLE_SECONDS),
        httpx2.AsyncClient(verify=_trusted(), timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream(
            "POST", pinned, content=body.encode(), headers=headers, extensions={"sni_hostname": name}
        ) as answer,
    ):
        said = b""
        async for part in answer.aiter_raw(ANSWER_BYTES):
            said += part
            if len(said) >= ANSWER_BYTES:
                break
        return _tried(answer.status_code, said[:ANSWER_BYTES])


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities in this process's environment (`SSL_CERT_FILE`, `SSL_CERT_DIR`), else the machine's.

    A client that takes nothing else from its environment would not take these either. Read once: that takes 25 ms.
    """
    return httpx2.create_ssl_context()


def _tried(status: int, said: bytes) -> Tried:
    if 200 <= status < 300:
        return Tried(True, status, "")
    return Tried(False, status, clean(said.decode("utf-8", "replace"), 500), for_ever=status == 410)
