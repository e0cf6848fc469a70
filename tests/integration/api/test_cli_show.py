from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from scheduler.database.tables import Reproduction
from scheduler.state_machine import ClaimState
from specs.judging.verdict import LinkedLogUse, Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison

# The routes have tests on both kinds of databases.
pytestmark = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)


def run(api: RunningApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["show", *arguments], env={"COLUMNS": "120", "REPROFARM_API": api.url})


def test_a_verified_claim_is_shown_with_all_that_proves_it(api: RunningApi) -> None:
    claim_id = api.rows.verified("tiny/model")
    api.rows.event("claim", claim_id, "submitted", "found on the Hub")
    api.rows.event("reproduction", api.rows.run_of(claim_id), "running", "attempt 1 by w1")
    badge = api.json(f"/v1/claims/{claim_id}/badge")
    result = run(api, claim_id[:8])
    assert result.exit_code == 0, result.output
    for text in (
        "verified  tiny/model  acme/capitals/europe",
        "41.20 %  (written 41.2)",
        "41.50 % ± 3.48 (standard error)",
        "+0.30 points",
        "5.57 points",
        "200 of 300",
        "would give 36.50 % to 46.50 % (alpha 0.001)",
        "http://farm.test/v1/evidence/",
        "found on the Hub",
        "attempt 1 by w1",
        "verifyToken",
    ):
        assert text in result.output
    for text in ("vllm 0.32.0", "temperature 0.0", "CPU x86_64, 2 cores", "--enforce-eager", "scorer    match"):
        assert text in result.output
    assert "\n  inspect eval hf/acme/capitals/europe@" in result.output
    # Whole, on a line of its own, whatever the width: it is there to be copied.
    assert badge["token"] in result.output.splitlines()


@pytest.mark.parametrize(
    ("used", "suspicious", "reason", "says"),
    [
        (True, False, "agrees with 97.0% of 412 samples", "used as predictions: agrees with 97.0% of 412 samples"),
        (False, False, "it was declared invalid", "not used: it was declared invalid"),
        (True, True, "differs in 38% of 120 samples", "used as predictions: differs in 38% of 120 samples"),
    ],
)
def test_what_became_of_a_linked_log_is_shown(
    api: RunningApi, used: bool, suspicious: bool, reason: str, says: str
) -> None:
    use = LinkedLogUse(
        url="https://hub.test/o/m/blob/main/run.eval",
        sha256="a" * 64,
        used=used,
        reason=reason,
        compared=412,
        differing=0.03,
        suspicious=suspicious,
    )
    claim_id = api.rows.decided(Outcome.VERIFIED, found=comparison().model_copy(update={"linked_log": use}))
    shown = run(api, claim_id).output
    assert "linked log" in shown
    assert says in shown
    assert api.json(f"/v1/claims/{claim_id}")["verdict"]["comparison"]["linked_log"]["suspicious"] is suspicious


def test_a_running_claim_shows_live_progress(api: RunningApi) -> None:
    result = run(api, api.rows.running())
    assert result.exit_code == 2
    assert "120 of 300" in result.output
    assert "40.50 %" in result.output
    assert "2: running, on w1@host" in result.output
    assert "A worker runs it" in result.output


def test_a_waiting_claim_says_for_what_and_where_it_stands(api: RunningApi) -> None:
    api.rows.planned()
    result = run(api, api.rows.planned("second/model"))
    assert "pool cpu, number 2 there; no worker of it is there" in result.output
    blocked = api.rows.claim(state=ClaimState.BLOCKED, reason="needs judge openai/o3-mini")
    result = run(api, blocked)
    assert "needs judge openai/o3-mini" in result.output
    assert "Somebody has to act" in result.output
    looks = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    over = api.rows.claim(state=ClaimState.BLOCKED, reason="over the day's budget of the farm", recheck_at=looks)
    assert "looks again by itself at 2030-01-02 03:04 UTC" in run(api, over).output


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.VERIFIED, 0),
        (Outcome.MISMATCH, 1),
        (Outcome.INCONCLUSIVE, 2),
        (Outcome.UNSUPPORTED, 2),
        (Outcome.FAILED, 2),
    ],
)
def test_the_exit_code_is_the_outcome(api: RunningApi, outcome: Outcome, code: int) -> None:
    assert run(api, api.rows.decided(outcome)).exit_code == code
    assert run(api, api.rows.decided(outcome, found=comparison()), "--json").exit_code == code


@pytest.mark.parametrize("state", [ClaimState.SUBMITTED, ClaimState.BLOCKED, ClaimState.REJECTED])
def test_a_claim_without_a_verdict_is_not_decided(api: RunningApi, state: ClaimState) -> None:
    assert run(api, api.rows.claim(state=state)).exit_code == 2


def test_json_has_the_claim_its_events_and_its_badge(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    for number in range(250):
        api.rows.event("claim", claim_id, f"event {number}")
    shown = json.loads(run(api, claim_id, "--json").output)
    assert shown["claim"]["id"] == claim_id
    assert len(shown["events"]) == 250
    assert shown["badge"]["payload"]["claimed"] == 0.412


def test_an_id_that_fits_nothing_is_an_error(api: RunningApi) -> None:
    result = run(api, "0123456789")
    assert (result.exit_code, result.stderr) == (3, "error: there is no claim and no reproduction 0123456789\n")


def test_a_run_is_shown_by_its_id_with_its_attempts_and_the_claims_that_it_judges(api: RunningApi) -> None:
    claim_id = api.rows.running("busy/model")
    run_id = api.rows.run_of(claim_id)
    api.rows.event("reproduction", run_id, "running", "attempt 2 by w1")
    result = run(api, run_id[:8])
    assert result.exit_code == 2, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "running busy/model acme/capitals/europe"
    assert {f"id {run_id}", "because attempt 2 by w1", "pool cpu", f"judges claim {claim_id}"} <= {*lines}
    assert "1 engine failed, on w0@host: the engine died" in lines
    assert "2 running, on w1@host, 120 of 300 samples" in lines
    assert "2026" in lines[-1]


def test_a_run_that_is_complete_is_shown_with_what_it_measured(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    result = run(api, api.rows.run_of(claim_id))
    assert result.exit_code == 0, result.output
    for text in ("66.67 % ± 33.33", "http://farm.test/v1/evidence/", "vllm 0.32.0", "\n  inspect eval hf/acme"):
        assert text in result.output
    listed = json.loads(run(api, api.rows.run_of(claim_id), "--json").output)
    assert (listed["claim"], listed["badge"], listed["reproduction"]["claims"]) == (None, None, [claim_id])


def test_a_run_that_no_command_repeats_says_why(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    run_id = api.rows.run_of(claim_id)
    with api.rows.database.transaction() as session:
        session.get_one(Reproduction, run_id).spec_refusal = "tasks[1].scorers is empty"
    said = " ".join(run(api, run_id).output.split())
    assert "reads every task of the eval.yaml first, and refuses tasks[1].scorers is empty" in said
    assert "inspect eval" not in said
    view = api.json(f"/v1/reproductions/{run_id}")
    assert (view["repeat_command"], view["not_repeatable"].endswith("is empty")) == (None, True)
    assert "and refuses tasks[1].scorers is empty</p>" in api.get(f"/claims/{claim_id}").text


def test_fewer_samples_than_the_run_scored_are_explained(api: RunningApi) -> None:
    found = comparison().model_copy(update={"samples_used": 3, "failed": 0})
    shown = " ".join(run(api, api.rows.decided(Outcome.MISMATCH, found=found)).output.split())
    assert "3 of 300" in shown
    assert "This claim had its answer after 3 samples, and those decided. The run went on to 4" in shown
    assert "2 more were in flight when the run stopped" in shown
