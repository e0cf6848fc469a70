from __future__ import annotations

from sqlalchemy import update

from scheduler.database.tables import Badge
from tests.support.api import RunningApi
from tests.support.rows import BEGINNING


def revoke(api: RunningApi, claim_id: str, minutes: int) -> None:
    with api.rows.database.transaction() as session:
        session.execute(
            update(Badge)
            .where(Badge.claim_id == claim_id)
            .values(revoked_at=BEGINNING.replace(minute=minutes), revoked_reason="the evidence was wrong")
        )


def test_a_badge_is_found_by_its_id_and_by_its_claim(api: RunningApi) -> None:
    api.rows.verified("other/model")
    claim_id = api.rows.verified("tiny/model")
    of_claim = api.json(f"/v1/claims/{claim_id[:8]}/badge")
    assert api.json(f"/v1/badges/{of_claim['id']}") == of_claim
    assert of_claim["claim_id"] == claim_id
    assert of_claim["payload"]["model"] == "tiny/model"
    assert of_claim["payload"]["jti"] == of_claim["id"]
    assert (of_claim["revoked"], of_claim["revocation"]) == (False, None)


def test_the_token_is_served_as_it_was_signed(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    with api.rows.database.reading() as session:
        token = session.get_one(Badge, claim_id).token
    assert api.json(f"/v1/claims/{claim_id}/badge")["token"] == token


def test_a_claim_without_a_badge_says_why_there_is_none(api: RunningApi) -> None:
    answer = api.get(f"/v1/claims/{api.rows.claim()}/badge")
    assert answer.status_code == 404
    assert "only a verified claim gets one" in answer.json()["detail"]


def test_revocations_are_public_and_newest_first(api: RunningApi) -> None:
    api.rows.verified("valid/model")
    first, second = api.rows.verified("a/a"), api.rows.verified("b/b")
    revoke(api, first, 1)
    revoke(api, second, 2)
    page = api.json("/v1/revocations", limit=1)
    rest = api.json("/v1/revocations", limit=1, cursor=page["next"])
    assert [item["claim_id"] for item in page["items"] + rest["items"]] == [second, first]
    assert rest["next"] is None
    assert page["items"][0]["reason"] == "the evidence was wrong"
    badge = api.json(f"/v1/claims/{first}/badge")
    assert badge["revoked"]
    assert badge["revocation"]["badge_id"] == badge["id"]
    assert api.json(f"/v1/claims/{first}")["badge"]["revoked"]
