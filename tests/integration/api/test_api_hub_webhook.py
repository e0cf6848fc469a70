"""The Hub announces, and just that repo is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi
from sqlalchemy import select

from deploy.localhub.webhooks import Webhook
from scheduler.database.tables import Claim, Model, OutboxRow
from scheduler.hub.hub import Hub
from scheduler.watch import announced_repos
from scheduler.watch.announcements import LOOK_AT_REPO
from scheduler.watch.scan import scan
from specs.policy.watch import WatchRules
from tests.support.api import RunningApi, running_api
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.localhub import RunningHub, running_hub
from tests.support.waiting import until

SECRET = "agreed upon"
RESULT = b"- dataset:\n    id: acme/capitals\n    task_id: europe\n  value: 41.2\n"


databases = mostly_sqlite


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    with running_api(tmp_path, databases, hub_webhook_secret=SECRET) as found:
        yield found


def announce(api: RunningApi, secret: str | None = SECRET, body: Any = None, **repo: str) -> httpx2.Response:
    about = {"type": "model", "name": "acme/tiny", **repo}
    sent = body if body is not None else {"event": {"action": "update", "scope": "repo.content"}, "repo": about}
    headers = {} if secret is None else {"x-webhook-secret": secret}
    return httpx2.post(api.url + "/hub/webhook", json=sent, headers=headers, timeout=60)


def looks(api: RunningApi) -> list[dict[str, Any]]:
    with api.rows.database.reading() as session:
        return [row.body for row in session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_REPO))]


def test_an_announcement_of_the_real_thing_makes_a_claim_without_a_scan(farm: RunningApi, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        alice = HfApi(endpoint=hub.url, token=hub.local.add_token("alice", orgs=("acme",)))
        alice.create_repo("acme/tiny")
        hub.local.add_webhook(Webhook(id="w1", url=farm.url + "/hub/webhook", secret=SECRET))
        alice.upload_file(path_or_fileobj=RESULT, path_in_repo=".eval_results/x.yaml", repo_id="acme/tiny")
        until(lambda: looks(farm), lambda: "the Hub announced nothing")
        look_at(farm, hub, looks(farm)[0])
        with farm.rows.database.reading() as session:
            assert [claim.value for claim in session.scalars(select(Claim))] == [41.2]
    (event,) = [event for event in farm.json("/v1/events", subject="model")["items"] if event["what"] == "announced"]
    assert (event["actor"], event["subject_id"]) == ("webhook:hub", "acme/tiny")


def look_at(farm: RunningApi, hub: RunningHub, body: dict[str, Any]) -> None:
    client = Hub(hub.url, None, request_seconds=30)
    announced_repos.look(farm.rows.database, client, body["repo_type"], body["repo_id"])


@ON_BOTH
def test_one_that_is_sent_again_at_once_is_one_look(farm: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    # However long four requests take: the next step of the time is years away.
    monkeypatch.setattr("scheduler.watch.announcements.ONCE_IN_SECONDS", 10**9)
    answers = [announce(farm) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert answers[0].json() == {"looked_at": "acme/tiny", "why": "soon"}
    assert len(looks(farm)) == 1


def test_what_changes_after_that_look_is_read_by_the_next_scan(
    farm: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.watch.announcements.ONCE_IN_SECONDS", 10**9)
    with running_hub(tmp_path / "hub") as hub:
        alice = HfApi(endpoint=hub.url, token=hub.local.add_token("alice", orgs=("acme",)))
        alice.create_repo("acme/tiny")
        assert announce(farm).json()["why"] == "soon"
        look_at(farm, hub, looks(farm)[0])
        alice.upload_file(path_or_fileobj=RESULT, path_in_repo=".eval_results/x.yaml", repo_id="acme/tiny")
        assert announce(farm).json()["why"] == "announced a moment ago already"
        scan(farm.rows.database, Hub(hub.url, None, request_seconds=30), WatchRules())
        with farm.rows.database.reading() as session:
            assert [claim.value for claim in session.scalars(select(Claim))] == [41.2]


def test_datasets_are_looked_at_and_spaces_are_not(farm: RunningApi) -> None:
    assert announce(farm, type="dataset", name="acme/capitals").json()["looked_at"] == "acme/capitals"
    assert announce(farm, type="space", name="acme/app").json()["looked_at"] is None
    assert announce(farm, name="../../etc").json()["looked_at"] is None
    assert looks(farm) == [{"repo_type": "dataset", "repo_id": "acme/capitals"}]


@pytest.mark.parametrize("secret", [None, "", "wrong", "Agreed upon"])
def test_without_the_secret_nothing_is_taken(farm: RunningApi, secret: str | None) -> None:
    assert announce(farm, secret).status_code == 401
    assert looks(farm) == []


def test_a_farm_without_a_secret_has_no_such_address(api: RunningApi) -> None:
    assert announce(api).status_code == 404


def test_a_secret_may_have_letters_of_any_script(tmp_path: Path, databases: Databases) -> None:
    with running_api(tmp_path, databases, hub_webhook_secret="verabredet für später") as there:
        for shown, status in (("verabredet für später", 202), ("verabredet fur spater", 401)):
            about = {"event": {"action": "update", "scope": "repo"}, "repo": {"type": "model", "name": "acme/tiny"}}
            headers = {b"x-webhook-secret": shown.encode()}
            assert (
                httpx2.post(there.url + "/hub/webhook", json=about, headers=headers, timeout=60).status_code == status
            )


@pytest.mark.parametrize("secret", [None, ""])
def test_an_empty_secret_is_none(tmp_path: Path, databases: Databases, secret: str | None) -> None:
    with running_api(tmp_path, databases, hub_webhook_secret="") as unset:
        assert announce(unset, secret).status_code == 404
        assert looks(unset) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [([1], 422), ({"event": {}}, 422), ({"x": "y" * 1_100_000}, 413), ({"event": 1, "repo": {"type": "model"}}, 422)],
)
def test_what_is_no_announcement_is_refused(farm: RunningApi, body: object, status: int) -> None:
    assert announce(farm, body=body).status_code == status


def test_what_cannot_be_read_is_left_to_the_next_scan(farm: RunningApi) -> None:
    away = Hub("http://127.0.0.1:9", None, request_seconds=1)
    announced_repos.look(farm.rows.database, away, "model", "acme/tiny")
    with farm.rows.database.reading() as session:
        assert session.get_one(Model, "acme/tiny").looked_at is None
