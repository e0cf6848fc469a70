"""What a try wrote on the Hub whose end nobody entered is found again, also once nothing more may be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.badges.issuing import sign_missing
from scheduler.database.tables import Publication
from scheduler.farm import Farm
from specs.policy.reverify import ReverifyRules
from tests.support.asking_again import reverify
from tests.support.databases import SQLITE
from tests.support.deciding import complete
from tests.support.publishing_farm import OWN, Publishing, publishing_farm

MODEL = RepoName(RepoType.MODEL, "tiny/model")


def write_and_die(there: Publishing, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(at, die)
        with pytest.raises(KeyboardInterrupt):
            there.publish()


def written(there: Publishing, claim_id: str) -> tuple[str, int | None]:
    with there.farm.database.reading() as session:
        row = session.scalars(select(Publication).where(Publication.claim_id == claim_id)).one()
        return row.state, row.number


@pytest.mark.parametrize(
    ("mode", "right", "number"),
    [("comment", 100, 2), ("pull_request", 100, 2), ("comment", 180, 1)],
    ids=["told", "proposed", "commented"],
)
def test_a_badge_that_stands_on_the_hub_is_not_forgotten_where_its_claim_is_verified_again_before_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, right: int, number: int
) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": mode}) as there:
        complete(there.farm, right)
        value = 100 * right / 200
        old = there.living()[value].claim_id
        write_and_die(there, monkeypatch, "scheduler.publish.due._conclude")
        rules = ReverifyRules(cooldown_seconds=0)
        new = reverify(there.farm.database, old, "new drivers", "hub:ada", rules=rules).claim_id
        there.publish()
        assert written(there, old) == ("published", number)
        there.plan()
        complete(there.farm, 20)
        there.publish()
        there.publish()
        assert there.publications()[new] == "published", "the farm says that the badge is revoked"
        if mode == "pull_request":
            assert there.user("reader").get_discussion_details("tiny/model", number).status == "closed"


def test_a_badge_that_was_told_before_policy_wants_pull_requests_and_its_entry_is_gone_is_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing_farm(tmp_path, SQLITE) as there:
        complete(there.farm, 100)
        claim_id = there.living()[50.0].claim_id
        write_and_die(there, monkeypatch, "scheduler.publish.due._conclude")
        (tmp_path / "policy.yaml").write_text("publish: {mode: pull_request}")
        there.farm = Farm(there.farm.settings)
        path = there.living()[50.0].path
        there.served.local.commit(MODEL, {path: b"[]"}, CommitText("Take it away", "tiny"))
        there.publish()
        assert written(there, claim_id) == ("published", 2)
        assert [author for _, author, _ in there.threads()] == ["fan", OWN]
        there.farm.database.engine.dispose()


def test_a_claim_that_is_verified_again_before_anything_is_written_has_nothing_on_the_hub(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "pull_request"}) as there:
        complete(there.farm, 100)
        old = there.living()[50.0].claim_id
        sign_missing(there.farm)
        reverify(there.farm.database, old, "new drivers", "hub:ada", rules=ReverifyRules(cooldown_seconds=0))
        there.publish()
        assert written(there, old) == ("withdrawn", None)
        assert [author for _, author, _ in there.threads()] == ["fan"]
