"""When the Hub does not let the farm write, it is asked again, and not oftener than helps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from scheduler.badges.issuing import sign_missing
from scheduler.badges.publications import want_mismatches
from scheduler.badges.revoking import revoke
from scheduler.database.tables import Publication, now
from scheduler.publish.due import publish_due
from specs.errors import HubBusy, NoAccess
from tests.support.databases import SQLITE
from tests.support.deciding import complete
from tests.support.publishing_farm import OWN, Publishing, publishing_farm

WANTS = {"mode": "comment", "verdicts": ["verified", "mismatch"]}


@pytest.fixture
def two_due(tmp_path: Path) -> Iterator[Publishing]:
    """A badge and a mismatch are to be written."""
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as found:
        complete(found.farm, 100)
        sign_missing(found.farm)
        want_mismatches(found.farm.database, found.farm.policy.publish)
        yield found


def waits(farm: Publishing) -> list[Publication]:
    with farm.farm.database.reading() as session:
        return list(session.scalars(select(Publication).order_by(Publication.tries)))


def test_a_hub_that_has_had_too_many_requests_gets_no_more_this_time(
    two_due: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise HubBusy("the Hub answered 429", 120.0)

    monkeypatch.setattr("scheduler.publish.due.publish", busy)
    publish_due(two_due.farm)
    other, tried = waits(two_due)
    assert (other.tries, tried.tries) == (0, 1)
    assert tried.due_at is not None
    assert now() + timedelta(seconds=100) < tried.due_at < now() + timedelta(seconds=130)


def test_a_token_that_the_hub_knows_no_more_puts_nothing_off(two_due: Publishing) -> None:
    farm, tokens = two_due.farm, two_due.served.local.storage.folder / "tokens.json"
    assert farm.hub.own_name() == OWN
    known = tokens.read_bytes()
    tokens.write_text("[]")
    for _ in range(2):
        # The second is told so before it tries one, and what is due is seen to be late.
        publish_due(farm)
        other, tried = waits(two_due)
        assert (other.tries, tried.tries) == (0, 1)
        assert tried.due_at is not None
        assert tried.due_at < now() + timedelta(minutes=1)
        assert "the farm's token" in (tried.reason or "")
        assert "the right to open" not in (tried.reason or "")
        with farm.database.transaction() as session:
            session.execute(update(Publication).values(due_at=now()))
    with pytest.raises(NoAccess):
        farm.hub.own_name()
    tokens.write_bytes(known)
    publish_due(farm)
    assert set(two_due.publications().values()) == {"published"}


def test_a_hub_that_refuses_is_asked_once_a_day(two_due: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise NoAccess("the Hub refuses tiny/model", "tiny/model")

    monkeypatch.setattr("scheduler.publish.due.publish", refused)
    publish_due(two_due.farm)
    for row in waits(two_due):
        assert row.tries == 1, "one that is refused says nothing of others"
        assert row.due_at is not None
        assert row.due_at > now() + timedelta(hours=23)
        assert "needs the right to open discussions" in (row.reason or "")


@pytest.mark.parametrize("it_works_by_then", [True, False])
def test_what_a_refused_try_left_is_taken_back_at_once_where_its_badge_was_revoked_meanwhile(
    two_due: Publishing, monkeypatch: pytest.MonkeyPatch, *, it_works_by_then: bool
) -> None:
    old = two_due.living()[50.0].claim_id

    def refused(*_: object) -> None:
        raise NoAccess("the Hub refuses tiny/model", "tiny/model")

    def revoked_and_refused(*_: object) -> None:
        revoke(two_due.farm.database, old, "its key was stolen", "operator:ada")
        refused()

    def revoked() -> Publication:
        (row,) = (each for each in waits(two_due) if each.claim_id == old)
        return row

    monkeypatch.setattr("scheduler.publish.due.publish", revoked_and_refused)
    publish_due(two_due.farm)
    row = revoked()
    assert (row.state, row.tries) == ("pending", 1)
    assert row.due_at is not None
    assert row.due_at <= now()
    if not it_works_by_then:
        monkeypatch.setattr("scheduler.publish.due.take_back", refused)
    publish_due(two_due.farm)
    row = revoked()
    assert (row.state, row.tries) == ("withdrawn" if it_works_by_then else "pending", 2)
    if not it_works_by_then:
        assert row.due_at is not None
        assert row.due_at > now() + timedelta(hours=23), "not again and again"
