"""A farm that publishes on a local Hub: settings, policy, key and token, with the verbs that tests use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import DiscussionComment, HfApi
from pydantic import SecretStr
from sqlalchemy import select, update

from deploy.localhub.hub import LocalHub
from scheduler.badges.issuing import sign_missing
from scheduler.badges.publications import want_mismatches
from scheduler.badges.signing import Signer
from scheduler.database.tables import Claim, Model, Publication
from scheduler.farm import Farm
from scheduler.planning.planning import plan
from scheduler.publish.due import publish_due
from scheduler.settings import Settings
from scheduler.watch.scan import scan
from tests.support.databases import Databases
from tests.support.deciding import complete
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.scheduler import migrated_database

OWN = "farm"


@dataclass
class Publishing:
    """The farm beside its Hub, where `tiny/model` claims 50 and a fan claims 90 on a pull request (number 1)."""

    farm: Farm
    served: RunningHub

    def scan(self) -> None:
        """Look at the Hub, and at every model."""
        with self.farm.database.transaction() as session:
            session.execute(update(Model).values(looked_at=None))
        scan(self.farm.database, self.farm.hub, self.farm.policy.watch)

    def plan(self) -> None:
        """One round of planning."""
        plan(self.farm.database, self.farm.hub, self.farm.policy)

    def publish(self) -> None:
        """What the publishing task does."""
        sign_missing(self.farm)
        want_mismatches(self.farm.database, self.farm.policy.publish)
        publish_due(self.farm)

    def living(self) -> dict[float | None, Claim]:
        """Claims that are not withdrawn, by their value."""
        with self.farm.database.reading() as session:
            return {claim.value: claim for claim in session.scalars(select(Claim).where(Claim.live))}

    def publications(self) -> dict[str, str]:
        """State by claim."""
        with self.farm.database.reading() as session:
            return {row.claim_id: row.state for row in session.scalars(select(Publication))}

    def user(self, name: str, *orgs: str) -> HfApi:
        """Somebody on the Hub."""
        return HfApi(endpoint=self.served.url, token=self.served.local.add_token(name, orgs=orgs))

    def threads(self) -> list[tuple[int, str, str]]:
        """Number, author and title of what was opened."""
        found = self.user("reader").get_repo_discussions("tiny/model")
        return sorted((each.num, each.author, each.title) for each in found)

    def lock(self, number: int) -> None:
        """Have a thread closed to whoever would say something, or change its state."""
        thread = f"/api/models/tiny/model/discussions/{number}"
        self.served.refused.update({f"POST {thread}/comment", f"POST {thread}/status"})

    def status(self, number: int) -> str:
        """Of a thread."""
        return self.user("reader").get_discussion_details("tiny/model", number).status

    def said(self, number: int, author: str = OWN) -> list[str]:
        """What an author wrote in a thread."""
        events = self.user("reader").get_discussion_details("tiny/model", number).events
        return [each.content for each in events if isinstance(each, DiscussionComment) and each.author == author]


@cache
def _hub_folder() -> Path:
    """A Hub with the benchmark, the model and both claims, made once: each farm has a copy."""
    kept = TemporaryDirectory(prefix="reprofarm-hub-")
    _KEPT.append(kept)
    folder = Path(kept.name) / "hub"
    hub = LocalHub(folder)
    add_benchmark(hub, "acme/bench")
    model = add_model(hub, "tiny/model")
    submit(hub, model, entry("acme/bench", 50))
    submit(hub, model, entry("acme/bench", 90), author="fan", create_pr=True, name="fan.yaml")
    hub.close()
    return folder


_KEPT: list[TemporaryDirectory[str]] = []
"""Removed when the process ends."""


@contextmanager
def publishing_farm(folder: Path, databases: Databases, **policy: Any) -> Iterator[Publishing]:
    """One whose claims are planned and not run yet."""
    shutil.copytree(_hub_folder(), folder / "hub")
    database = migrated_database(folder, databases)
    database.engine.dispose()
    with running_hub(folder / "hub") as served:
        (folder / "policy.yaml").write_text(yaml.safe_dump({"publish": {"mode": "comment"}, **policy}))
        farm = Farm(
            Settings(
                database_url=database.url,
                hub_endpoint=served.url,
                hub_token=SecretStr(served.local.add_token(OWN)),
                evidence_url=f"file://{folder / 'evidence'}",
                signing_key=folder / "keys" / "signing.pem",
                retired_keys=folder / "keys" / "retired",
                policy=folder / "policy.yaml",
                public_url="https://farm.example",
            )
        )
        Signer.create(farm.settings.signing_key)
        there = Publishing(farm, served)
        try:
            there.scan()
            there.plan()
            yield there
        finally:
            farm.database.engine.dispose()


@contextmanager
def published_farm(folder: Path, databases: Databases) -> Iterator[Publishing]:
    """The same once its run is complete and its verdicts are published."""
    with publishing_farm(folder, databases) as found:
        complete(found.farm, 100)
        found.publish()
        yield found
