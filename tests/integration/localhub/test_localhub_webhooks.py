from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, WebhookPayload

from deploy.localhub.names import model
from deploy.localhub.webhooks import Watched, Webhook, WebhookSender
from deploy.serving import QuietHandler, answered_by
from tests.support.localhub import RunningHub

WAIT_SECONDS = 60


@dataclass
class Listener:
    """A live receiver of webhooks; it answers with `statuses` first, then with 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    got: queue.Queue[tuple[str | None, dict[str, Any]]] = field(default_factory=queue.Queue)

    def next(self) -> dict[str, Any]:
        return self.got.get(timeout=WAIT_SECONDS)[1]


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener("")

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.body())
            status = listener.statuses.pop(0) if listener.statuses else 200
            if status == 200:
                # Before the answer, upon which the next one is sent, which another thread takes.
                listener.got.put((self.headers["x-webhook-secret"], body))
            self.answer(status)

    with answered_by(Handler) as url:
        listener.url = url + "/hook"
        yield listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as running:
        yield running


@pytest.fixture
def watched(hub: RunningHub, alice: HfApi, listener: Listener) -> str:
    alice.create_repo("acme/tiny")
    hub.local.add_webhook(Webhook(id="w1", url=listener.url, secret="s3cret"))
    return "acme/tiny"


def test_a_commit_is_announced_with_the_secret(hub: RunningHub, alice: HfApi, listener: Listener, watched: str) -> None:
    before = alice.model_info(watched).sha
    info = alice.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=watched)
    secret, body = listener.got.get(timeout=WAIT_SECONDS)
    assert secret == "s3cret"
    payload = WebhookPayload.model_validate(body)
    assert (payload.event.action, payload.event.scope) == ("update", "repo.content")
    assert (payload.repo.type, payload.repo.name, payload.webhook.version) == ("model", watched, 3)
    assert payload.repo.url.api == f"{hub.url}/api/models/{watched}"
    assert body["repo"]["headSha"] == info.oid
    assert payload.updatedRefs is not None
    (ref,) = payload.updatedRefs
    assert (ref.ref, ref.oldSha, ref.newSha) == ("refs/heads/main", before, info.oid)


def test_a_pull_request_is_announced_and_what_becomes_of_it(
    eve: HfApi, alice: HfApi, listener: Listener, watched: str
) -> None:
    eve.create_commit(watched, [CommitOperationAdd("x.txt", b"x")], commit_message="Add x", create_pr=True)
    body = listener.next()
    assert "headSha" not in body["repo"]
    opened = WebhookPayload.model_validate(body)
    assert (opened.event.action, opened.event.scope) == ("create", "discussion")
    assert opened.discussion is not None
    assert (opened.discussion.num, opened.discussion.isPullRequest, opened.discussion.status) == (1, True, "open")
    assert listener.next()["updatedRefs"][0]["ref"] == "refs/pr/1"
    alice.comment_discussion(watched, 1, "Thanks")
    said = WebhookPayload.model_validate(listener.next())
    assert said.event.scope == "discussion.comment"
    assert said.comment is not None
    assert (said.comment.content, said.comment.author.id) == ("Thanks", "alice")
    alice.merge_pull_request(watched, 1)
    assert listener.next()["updatedRefs"][0]["ref"] == "refs/heads/main"
    merged = listener.next()["discussion"]
    assert merged["status"] == "merged"
    assert merged["changes"]["mergeCommitId"] == alice.model_info(watched).sha


def test_new_deleted_and_changed_repos_are_announced(alice: HfApi, listener: Listener, watched: str) -> None:
    alice.create_repo("acme/new", repo_type="dataset")
    alice.update_repo_settings("acme/new", repo_type="dataset", gated="auto")
    alice.delete_repo("acme/new", repo_type="dataset")
    events = [listener.next() for _ in range(3)]
    assert [(body["event"]["action"], body["event"]["scope"]) for body in events] == [
        ("create", "repo"),
        ("update", "repo.config"),
        ("delete", "repo"),
    ]


def test_a_renamed_repo_is_announced_with_its_new_name(alice: HfApi, listener: Listener, watched: str) -> None:
    alice.move_repo(watched, "alice/small")
    payload = WebhookPayload.model_validate(listener.next())
    assert (payload.event.action, payload.event.scope, payload.repo.name) == ("move", "repo", watched)
    assert payload.movedTo is not None
    assert (payload.movedTo.name, payload.movedTo.owner.id) == ("alice/small", "alice")


def test_only_what_is_watched_is_announced(hub: RunningHub, alice: HfApi, listener: Listener) -> None:
    only = Watched(type="model", name="acme/two")
    hub.local.add_webhook(Webhook(id="w1", url=listener.url, watched=(only,), domains=("discussion",)))
    for name in ("acme/one", "acme/two"):
        alice.create_repo(name)
        alice.create_discussion(name, title=f"About {name}")
    assert listener.next()["discussion"]["title"] == "About acme/two"
    hub.local.close()
    assert listener.got.empty()


def test_a_listener_that_fails_is_tried_again(tmp_path: Path, listener: Listener) -> None:
    listener.statuses += [500, 503]
    sender = WebhookSender(tmp_path / "webhooks.json", retry_delays_seconds=(0.0, 0.0, 0.0))
    sender.add(Webhook(id="w1", url=listener.url))
    sender.announce(model("acme/tiny"), "repo", {"event": {}})
    assert listener.next()["webhook"] == {"id": "w1", "version": 3}
    assert listener.statuses == []


def test_a_listener_that_is_away_holds_up_neither_requests_nor_other_listeners(
    hub: RunningHub, alice: HfApi, listener: Listener
) -> None:
    hub.local.add_webhook(Webhook(id="away", url="http://127.0.0.1:9/"))
    hub.local.add_webhook(Webhook(id="here", url=listener.url))
    alice.create_repo("acme/tiny")
    assert listener.next()["event"]["action"] == "create"
    hub.local.close(timeout_seconds=0)


def test_a_broken_configuration_stops_webhooks_and_nothing_else(hub: RunningHub, alice: HfApi) -> None:
    (hub.local.storage.folder / "webhooks.json").write_text('[{"url": 5}]')
    alice.create_repo("acme/tiny")
    assert alice.repo_exists("acme/tiny")


def test_what_waits_is_sent_before_closing(tmp_path: Path, listener: Listener) -> None:
    sender = WebhookSender(tmp_path / "webhooks.json")
    sender.add(Webhook(id="w1", url=listener.url))
    for number in range(20):
        sender.announce(model("acme/tiny"), "repo", {"number": number})
    sender.close(timeout_seconds=WAIT_SECONDS)
    assert [listener.next()["number"] for _ in range(20)] == list(range(20))
