"""What the API and `show` say of claims that are stale, were verified again, or did not match for a likely reason."""

from __future__ import annotations

from sqlalchemy import update
from typer.testing import CliRunner

from deploy.cli.main import app
from scheduler.database.tables import Claim, VerdictRow
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome, Verdict
from tests.support.api import RunningApi
from tests.support.rows import comparison

CHANGED = "the model's files changed since"


def supersede(api: RunningApi, old: str, new: str) -> None:
    with api.rows.database.transaction() as session:
        gone = {"state": ClaimState.WITHDRAWN, "live": False, "superseded_by": new}
        session.execute(update(Claim).where(Claim.claim_id == old).values(**gone))
        session.execute(update(Claim).where(Claim.claim_id == new).values(supersedes=old))


def badge_of(api: RunningApi, claim_id: str) -> tuple[bool, str | None, str | None]:
    badge = api.json(f"/v1/claims/{claim_id}/badge")
    assert api.json(f"/v1/badges/{badge['id']}") == badge
    return badge["stale"], badge["stale_reason"], badge["superseded_by"]


def test_a_stale_verdict_says_so_with_its_reason_alone_and_in_lists(api: RunningApi) -> None:
    fresh, old = api.rows.verified("a/a"), api.rows.verified("b/b", stale_reason=CHANGED)
    assert [(item["id"], item["stale"], item["stale_reason"]) for item in api.json("/v1/claims")["items"]] == [
        (old, True, CHANGED),
        (fresh, False, None),
    ]
    assert (badge_of(api, fresh), badge_of(api, old)) == ((False, None, None), (True, CHANGED, None))
    shown = CliRunner().invoke(app, ["show", old], env={"COLUMNS": "120", "REPROFARM_API": api.url})
    assert CHANGED in shown.output


def test_two_verdicts_on_one_entry_name_each_other(api: RunningApi) -> None:
    old, new = api.rows.verified(), api.rows.planned()
    supersede(api, old, new)
    was, now = api.json(f"/v1/claims/{old}"), api.json(f"/v1/claims/{new}")
    assert (was["superseded_by"], was["supersedes"], now["supersedes"], now["superseded_by"]) == (new, None, old, None)
    assert new in was["next_step"]
    assert badge_of(api, old) == (False, None, new), "until there is a later verdict it stands"
    with api.rows.database.transaction() as session:
        gone = {"live": False, "state": ClaimState.WITHDRAWN, "reason": "the entry is gone from its file"}
        session.execute(update(Claim).where(Claim.claim_id == new).values(**gone))
    assert badge_of(api, old) == (True, "the claim was withdrawn: the entry is gone from its file", new)


def test_a_badge_is_stale_once_its_entry_was_decided_again_or_is_gone(api: RunningApi) -> None:
    old, new, gone = api.rows.verified("a/a"), api.rows.decided(Outcome.FAILED, "a/a"), api.rows.verified("c/c")
    supersede(api, old, new)
    stale, reason, later = badge_of(api, old)
    assert (stale, later) == (True, new)
    assert reason == f"claim {new} is the same entry, verified again since: failed"
    with api.rows.database.transaction() as session:
        left = {"live": False, "state": ClaimState.WITHDRAWN, "reason": "the entry is gone from its file"}
        session.execute(update(Claim).where(Claim.claim_id == gone).values(**left))
    assert badge_of(api, gone) == (True, "the claim was withdrawn: the entry is gone from its file", None)


def test_likely_reasons_stand_with_the_claim_its_verdict_and_in_the_command(api: RunningApi) -> None:
    claim_id = api.rows.decided(Outcome.MISMATCH, found=comparison(0.1))
    why = ("30 of 100 answers were cut off", "the model's repo has no chat template")
    verdict = Verdict(outcome=Outcome.MISMATCH, reason="no", comparison=comparison(0.1), likely_reasons=why)
    with api.rows.database.transaction() as session:
        session.execute(update(VerdictRow).values(verdict=verdict.model_dump(mode="json")))
    assert api.json(f"/v1/claims/{claim_id}")["verdict"]["likely_reasons"] == list(why)
    assert api.json("/v1/verdicts")["items"][0]["likely_reasons"] == list(why)
    shown = CliRunner().invoke(app, ["show", claim_id], env={"COLUMNS": "120", "REPROFARM_API": api.url})
    assert shown.output.index("Likely reasons") < shown.output.index(why[0]) < shown.output.index(why[1])
