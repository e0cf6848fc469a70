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
    assert page["next"] == page["items"][-1]["cursor"]
    assert told(api, "/v1/events", after=page["next"]) == ["three"]
    last = api.json("/v1/events", after=page["next"])["items"][-1]
    by = ("cursor", "id")
    assert [told(api, "/v1/events", after=last[name]) for name in by] == [[], []]
    api.rows.event("claim", "c1", "four")
    assert [told(api, "/v1/events", after=last[name]) for name in by] == [["four"], ["four"]]


def test_each_parameter_of_events_is_described(shared_api: RunningApi) -> None:
    parameters = shared_api.json("/openapi.json")["paths"]["/v1/events"]["get"]["parameters"]
    assert {"before", "order", "subject", "last-event-id"} <= {each["name"] for each in parameters}
    assert [each["name"] for each in parameters if not each.get("description")] == []


def test_who_had_more_events_than_a_restored_farm_is_told_where_to_go_on(api: RunningApi) -> None:
    claim_id = api.rows.claim()
    api.rows.event("claim", claim_id, "submitted", "in the backup")
    for path in ("/v1/events", f"/v1/claims/{claim_id}/events"):
        assert api.json(path)["reset"] is None
        assert api.json(path, after=1) == {"items": [], "next": None, "reset": None}, "up to date"
        reset = {"last_event_id": 1, "cursor": api.json(path)["items"][0]["cursor"]}
        assert api.json(path, after=5000) == {"items": [], "next": None, "reset": reset}
        assert api.json(path, after=5000, subject="badge")["reset"] == reset
    api.rows.event("claim", claim_id, "decided", "after the restore")
    assert told(api, "/v1/events", after=reset["cursor"]) == ["decided"]


def test_a_restored_farm_does_not_take_its_events_for_those_that_had_their_numbers(api: RunningApi) -> None:
    claim_id = api.rows.claim()
    for what in ("submitted", "lost"):
        api.rows.event("claim", claim_id, what)
    path = f"/v1/claims/{claim_id}/events"
    lost = api.json(path)["items"][-1]["cursor"]
    with api.rows.database.transaction() as session:
        session.execute(delete(Event).where(Event.what == "lost"))
    for number in (2, 3):
        api.rows.event("claim", claim_id, "since the restore", event_id=number)
    for asked in ("/v1/events", path):
        page = api.json(asked, after=lost)
        assert (page["items"], page["reset"]["last_event_id"]) == ([], 3)
        assert api.json(asked, after=page["reset"]["cursor"]) == {"items": [], "next": None, "reset": None}


def test_what_is_no_cursor_is_refused(api: RunningApi) -> None:
    for text in ("-1", "1-", "1-xyz", "x", "9" * 19, "1-" + "f" * 17):
        assert api.get("/v1/events", after=text).status_code == 422


def test_events_can_be_read_newest_first(api: RunningApi) -> None:
    for what in ("one", "two", "three"):
        api.rows.event("model", "m/m", what)
    page = api.json("/v1/events", order="newest", limit=2)
    assert [event["what"] for event in page["items"]] == ["three", "two"]
    assert told(api, "/v1/events", order="newest", before=page["next"]) == ["one"]


def test_events_are_paged_as_every_other_list_is(api: RunningApi) -> None:
    claim_id = api.rows.claim()
    for what in ("one", "two", "three"):
        api.rows.event("claim", claim_id, what)
    for path, order in (("/v1/events", "oldest"), ("/v1/events", "newest"), (f"/v1/claims/{claim_id}/events", None)):
        asked = {"limit": 2, **({"order": order} if order else {})}
        first = api.json(path, **asked)
        rest = api.json(path, cursor=first["next"], **asked)
        found = [event["what"] for event in (*first["items"], *rest["items"])]
        assert found == (["three", "two", "one"] if order == "newest" else ["one", "two", "three"])
        assert rest["next"] is None


def test_events_can_be_those_of_one_thing(api: RunningApi) -> None:
    api.rows.event("claim", "same", "of the claim")
    api.rows.event("reproduction", "same", "of the reproduction")
    api.rows.event("claim", "other", "of another")
    assert told(api, "/v1/events", subject="claim") == ["of the claim", "of another"]
    assert told(api, "/v1/events", subject="claim", subject_id="same") == ["of the claim"]
    assert told(api, "/v1/events", subject_id="same") == ["of the claim", "of the reproduction"]


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
