"""Telling others that something changed, in the Hub's webhook format (version 3).

Format: https://huggingface.co/docs/hub/webhooks and huggingface_hub's `WebhookPayload`. Who is told stands in
`webhooks.json`. Delivery is best effort, in threads of its own: a request never waits for it, and a listener that is
away for long misses events and must poll.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from deploy.localhub.errors import BadRequestError, MisconfiguredError
from deploy.localhub.listed import ListFile
from deploy.localhub.names import RepoName
from specs.text import clean

RETRY_DELAYS_SECONDS = (1.0, 4.0, 15.0)
TIMEOUT_SECONDS = 10.0
MAX_WAITING = 10_000
_log = logging.getLogger(__name__)


class Watched(BaseModel):
    """What a webhook is about: one repo, or all repos of a user or organisation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["model", "dataset", "user", "org"]
    name: str

    def covers(self, repo: RepoName) -> bool:
        """Whether the repo is what is watched or belongs to it."""
        if self.type in ("user", "org"):
            return self.name == repo.namespace
        return self.type == repo.type.value and self.name == repo.id


class Webhook(BaseModel):
    """One line of `webhooks.json`. An empty `watched` watches everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    url: str
    secret: str | None = None
    watched: tuple[Watched, ...] = ()
    domains: tuple[Literal["repo", "discussion"], ...] = Field(default=("repo", "discussion"))

    def wants(self, repo: RepoName, domain: str) -> bool:
        """Whether this webhook is told of a change in that domain of that repo."""
        return domain in self.domains and (not self.watched or any(item.covers(repo) for item in self.watched))


class WebhookSender:
    """Sends payloads to each webhook in order, with a few retries; one that is away does not hold up the others."""

    def __init__(self, path: Path, retry_delays_seconds: tuple[float, ...] = RETRY_DELAYS_SECONDS):
        self._file = ListFile(path, TypeAdapter(tuple[Webhook, ...]), "webhooks")
        self._retry_delays_seconds = retry_delays_seconds
        self._lanes: dict[Webhook, _Lane] = {}
        self._opening = threading.Lock()

    def configured(self) -> tuple[Webhook, ...]:
        """The webhooks of the folder.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        return self._file.read()

    def add(self, webhook: Webhook) -> None:
        """Configure one more, or replace the one of the same id.

        Raises:
            BadRequestError: nothing can be sent to its address.
        """
        if not _is_address(webhook.url):
            raise BadRequestError(f"A webhook's address is http(s)://HOST/…, and not {clean(webhook.url, 100)!r}")
        self._file.write((*(known for known in self.configured() if known.id != webhook.id), webhook))

    def announce(self, repo: RepoName, domain: str, payload: dict[str, Any]) -> None:
        """Tell everybody concerned, soon."""
        try:
            concerned = [webhook for webhook in self.configured() if webhook.wants(repo, domain)]
        except MisconfiguredError as error:
            _log.error("no webhook is sent: %s", error)
            return
        for webhook in concerned:
            with self._opening:
                lane = self._lanes.get(webhook)
                if lane is None:
                    lane = self._lanes[webhook] = _Lane(webhook, self._retry_delays_seconds)
            lane.send(payload | {"webhook": {"id": webhook.id, "version": 3}})

    def close(self, timeout_seconds: float) -> None:
        """Send what waits, for so long at most; what is left is lost."""
        deadline = time.monotonic() + timeout_seconds
        with self._opening:
            lanes, self._lanes = list(self._lanes.values()), {}
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.thread.join(max(deadline - time.monotonic(), 0.0))


def _is_address(url: str) -> bool:
    try:
        httpx2.URL(url)
        # Which takes half of an IPv6 address for a name.
        found = urlsplit(url)
    except (httpx2.InvalidURL, ValueError):
        return False
    return found.scheme in ("http", "https") and bool(found.hostname)


class _Lane:
    """The payloads on their way to one webhook, and the thread that sends them."""

    def __init__(self, webhook: Webhook, retry_delays_seconds: tuple[float, ...]):
        self._webhook = webhook
        self._retry_delays_seconds = retry_delays_seconds
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_WAITING)
        self.thread = threading.Thread(target=self._work, name=f"webhook-{webhook.id}", daemon=True)
        self.thread.start()

    def send(self, payload: dict[str, Any]) -> None:
        """Line up a payload; one too many is lost."""
        try:
            self._waiting.put_nowait(payload)
        except queue.Full:
            _log.warning("webhook %s is not told of a change: %d others wait", self._webhook.id, MAX_WAITING)

    def stop(self) -> None:
        """End the thread once everything is sent."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _work(self) -> None:
        with httpx2.Client(timeout=TIMEOUT_SECONDS) as client:
            while (payload := self._waiting.get()) is not None:
                self._deliver(client, payload)

    def _deliver(self, client: httpx2.Client, payload: dict[str, Any]) -> None:
        headers = {"X-Webhook-Secret": self._webhook.secret} if self._webhook.secret else {}
        problem = ""
        for delay_seconds in (*self._retry_delays_seconds, None):
            try:
                answer = client.post(self._webhook.url, json=payload, headers=headers)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    return
                problem = f"status {answer.status_code}"
            if delay_seconds is not None:
                time.sleep(delay_seconds)
        _log.warning("webhook %s did not take an event: %s", self._webhook.id, problem)
