from __future__ import annotations

from sqlalchemy import delete, update

from scheduler.database.tables import Event, now
from tests.support.api import RunningApi


def told(api: RunningApi, path: str, **asked: object) -> list[str]:
    return [event["what"] for event in api.json(path, **asked)["items"]]


def test_events_are_followed_by_the_id_of_the_last_one_seen(api: RunningApi) -> None:
    for what in ("one", "two", "three"):
        api.rows.event("claim", "c1", what)
    page = api.json("/v1/events", limit=2)
    assert [event["what"] for event in page["items"]] == ["one", "two"]
    assert page["next"] == str(page["items"][-1]["id"])
    assert told(api, "/v1/events", after=page["next"]) == ["three"]
    last = api.json("/v1/events", after=page["next"])["items"][-1]["id"]
    assert told(api, "/v1/events", after=last) == []
    api.rows.event("claim", "c1", "four")
    assert told(api, "/v1/events", after=last) == ["four"]


def test_who_had_more_events_than_a_restored_farm_is_told_where_to_go_on(api: RunningApi) -> None:
    claim_id = api.rows.claim()
    api.rows.event("claim", claim_id, "submitted", "in the backup")
    for path in ("/v1/events", f"/v1/claims/{claim_id}/events"):
        assert api.json(path)["reset"] is None
        assert api.json(path, after=1) == {"items": [], "next": None, "reset": None}, "up to date"
        assert api.json(path, after=5000) == {"items": [], "next": None, "reset": {"last_event_id": 1}}
        assert api.json(path, after=5000, subject="badge")["reset"] == {"last_event_id": 1}
    api.rows.event("claim", claim_id, "decided", "after the restore")
    assert told(api, "/v1/events", after=1) == ["decided"]


def test_events_can_be_read_newest_first(api: RunningApi) -> None:
    for what in ("one", "two", "three"):
        api.rows.event("model", "m/m", what)
    page = api.json("/v1/events", order="newest", limit=2)
    assert [event["what"] for event in page["items"]] == ["three", "two"]
    assert told(api, "/v1/events", order="newest", before=page["next"]) == ["one"]


def test_events_can_be_those_of_one_thing(api: RunningApi) -> None:
    api.rows.event("claim", "same", "of the claim")
    api.rows.event("reproduction", "same", "of the reproduction")
    api.rows.event("claim", "other", "of another")
    assert told(api, "/v1/events", subject="claim") == ["of the claim", "of another"]
    assert told(api, "/v1/events", subject="claim", subject_id="same") == ["of the claim"]


def test_the_timeline_of_a_claim_is_its_own_and_its_reproductions_and_its_badges(api: RunningApi) -> None:
    claim_id, other = api.rows.verified(), api.rows.verified("other/model")
    badge_id = api.json(f"/v1/claims/{claim_id}")["badge"]["id"]
    api.rows.event("claim", claim_id, "submitted")
    api.rows.event("reproduction", api.rows.run_of(claim_id), "running")
    api.rows.event("claim", other, "submitted elsewhere")
    api.rows.event("reproduction", api.rows.run_of(other), "running elsewhere")
    api.rows.event("badge", badge_id, "signed")
    path = f"/v1/claims/{claim_id[:9]}/events"
    assert told(api, path) == ["submitted", "running", "signed"]
    assert told(api, path, limit=1, after=1) == ["running"]


def test_an_event_after_a_young_gap_waits_until_the_gap_can_no_longer_be_filled(api: RunningApi) -> None:
    # On PostgreSQL a transaction that is still open leaves such a gap, and fills it when it commits.
    for what in ("first", "still uncommitted", "later"):
        api.rows.event("claim", "c1", what, at=now())
    with api.rows.database.transaction() as session:
        session.execute(delete(Event).where(Event.what == "still uncommitted"))
    assert told(api, "/v1/events") == ["first"]
    with api.rows.database.transaction() as session:
        session.execute(update(Event).values(at=now().replace(year=2025)))
    assert told(api, "/v1/events") == ["first", "later"]
