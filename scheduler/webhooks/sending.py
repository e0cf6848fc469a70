"""One try to hand over one message, in the form of Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import httpx
from standardwebhooks import Webhook as Signed

from scheduler.webhooks.addresses import Unsendable, resolve, split
from specs.text import clean

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
ANSWER_BYTES = 2000
"""What is read of an answer: its beginning, for the log."""


@dataclass(frozen=True)
class Outcome:
    """What came of a try."""

    taken: bool
    status: int | None
    detail: str
    for_ever: bool = False
    """The receiver wants nothing more of it (410), or nothing can be sent there."""


def send(url: str, secret: str, message_id: str, body: str, at: datetime, *, private: bool) -> Outcome:
    """Hand a message over. Follows no redirect: it would lead past the check of the address."""
    try:
        target = split(url)
        address = resolve(target, private=private)
    except Unsendable as error:
        return Outcome(False, None, clean(str(error), 500))
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
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    try:
        # No proxy and no .netrc of this machine's: they would know other ways. The certificate is that of the name.
        with (
            httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
            client.stream(
                "POST", pinned, content=body.encode(), headers=headers, extensions={"sni_hostname": target.host}
            ) as answer,
        ):
            said = b""
            for part in answer.iter_raw(ANSWER_BYTES):
                said += part
                if len(said) >= ANSWER_BYTES:
                    break
            return _outcome(answer.status_code, said[:ANSWER_BYTES])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Outcome(False, None, clean(f"{type(error).__name__}: {error}", 500))


def _outcome(status: int, said: bytes) -> Outcome:
    if 200 <= status < 300:
        return Outcome(True, status, "")
    return Outcome(False, status, clean(said.decode("utf-8", "replace"), 500), for_ever=status == 410)
