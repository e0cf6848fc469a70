"""A Hub with one model, its owner, and a farm that may only propose: what publishing is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DiscussionComment, HfApi

from deploy.localhub.names import RepoName
from scheduler.hub.hub import Hub
from scheduler.publish.draft import ClaimPlace, Draft, Published
from scheduler.publish.text import body_mark, title_mark
from scheduler.publish.writing import publish
from tests.support.attestations import attestation, signer
from tests.support.hub_content import add_benchmark, add_model, entry
from tests.support.localhub import RunningHub, running_hub

BENCHMARK = "facts/capitals"
MODEL = "smol/one"
FARM = "farm"
PATH = ".eval_results/results.yaml"
VERDICT = "0123456789abcdef" * 2
SIGNER = signer()
TOKEN = SIGNER.sign(attestation())
CLAIM = entry(BENCHMARK, 41.2)


@dataclass
class Site:
    """That Hub, and who writes on it."""

    served: RunningHub
    model: RepoName
    hub: Hub
    owner: HfApi

    def publish(self, draft: Draft, hub: Hub | None = None) -> Published:
        """As the farm does."""
        return publish(hub or self.hub, FARM, draft)

    def threads(self) -> list[tuple[int, str, str, bool]]:
        """Number, author, status and kind of all that was opened."""
        found = self.owner.get_repo_discussions(MODEL)
        return sorted((each.num, each.author, each.status, each.is_pull_request) for each in found)

    def comments(self, number: int) -> list[DiscussionComment]:
        """All that can be read on one of them."""
        events = self.owner.get_discussion_details(MODEL, number).events
        return [each for each in events if isinstance(each, DiscussionComment) and not each.hidden]

    def read(self, revision: str = "main") -> str:
        """The model's file of results."""
        return self.served.local.read_file(self.model, PATH, revision).decode()


@pytest.fixture
def proposing_site(tmp_path: Path) -> Iterator[Site]:
    """For modules that say `site = proposing_site`."""
    with running_hub(tmp_path / "hub") as served:
        add_benchmark(served.local, BENCHMARK)
        model = add_model(served.local, MODEL)
        hub = Hub(served.url, served.local.add_token(FARM), request_seconds=30)
        yield Site(served, model, hub, HfApi(endpoint=served.url, token=served.local.add_token("smol")))


def publication(**changes: Any) -> Draft:
    """What the farm has to tell of its verdict on the model's claim, but for what is to be otherwise."""
    claim = ClaimPlace(
        model_id=MODEL,
        pull_request=None,
        path=PATH,
        entry=0,
        dataset_id=BENCHMARK,
        task_id="capitals",
        value=41.2,
        notes=None,
    )
    of_claim = {name: changes.pop(name) for name in list(changes) if name in ClaimPlace.__dataclass_fields__}
    facts: dict[str, Any] = {
        "verdict_id": VERDICT,
        "claim": replace(claim, **of_claim),
        "mode": "pull_request",
        "token": TOKEN,
        "source": None,
        "title": f"41.2 on {BENCHMARK} was reproduced {title_mark(VERDICT)}",
        "body": f"The facts.\n\n{body_mark(VERDICT)}",
    }
    return Draft(**{**facts, **changes})
