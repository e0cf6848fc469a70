"""After a step back to this version: what a later one wrote is shown as far as this one knows it."""

from __future__ import annotations

from scheduler.database.tables import Claim, Reproduction, VerdictRow
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison

NEWER = {"of_a_later_version": True}


def test_what_a_later_version_added_hides_nothing_else(api: RunningApi) -> None:
    claim_id = api.rows.decided(Outcome.MISMATCH, found=comparison())
    run = api.rows.run_of(claim_id)
    before = [api.json(path) for path in (f"/v1/claims/{claim_id}", "/v1/verdicts", f"/v1/reproductions/{run}")]
    with api.rows.database.transaction() as session:
        verdict = session.get_one(VerdictRow, claim_id)
        verdict.verdict = {**verdict.verdict, **NEWER, "comparison": {**verdict.verdict["comparison"], **NEWER}}
        reproduction = session.get_one(Reproduction, run)
        reproduction.measurement = {**(reproduction.measurement or {}), **NEWER}
        claim = session.get_one(Claim, claim_id)
        claim.foreseen = {**(claim.foreseen or {}), **NEWER}
    api.rows.worker("one@farm", memory=[{"device": "memory", "total_bytes": 4, "free_bytes": 3, **NEWER}])
    after = [api.json(path) for path in (f"/v1/claims/{claim_id}", "/v1/verdicts", f"/v1/reproductions/{run}")]
    assert after == before
    assert [each["id"] for each in api.json("/v1/claims")["items"]] == [claim_id]
    assert api.json(f"/v1/claims/{claim_id}/plan")["words"]
    assert [each["name"] for each in api.json("/v1/workers")["items"]] == ["one@farm"]
