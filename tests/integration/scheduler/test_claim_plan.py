"""What a claim will cost, from the card of a dataset on a live local Hub to the API and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.admission.priorities import REQUESTED_PRIORITY
from scheduler.api import plan, turns
from scheduler.database.tables import Benchmark, Claim, Reproduction, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.forecast import Forecast, Foreseen, forecast
from specs.logs.linked_log import LinkedLog, LinkedLogReading
from specs.policy.budget import BudgetRules
from specs.policy.rules import Policy
from specs.policy.verification import TaskRules, VerificationRules
from tests.support.api import RunningApi, running_api
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.interleaving import PATIENCE_SECONDS
from tests.support.rows import measurement
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK, MODEL = "acme/capitals", "tiny/model"
CARD = """\
license: mit
dataset_info:
  features: [{name: question, dtype: string}, {name: answer, dtype: string}]
  splits:
  - {name: test, num_bytes: 9000, num_examples: 198}
  - {name: train, num_bytes: 90000, num_examples: 1980}
  download_size: 99000
  dataset_size: 99000
"""

databases = mostly_sqlite
farm = empty_farm


@pytest.fixture
def api(farm: ControlPlane, tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    # The same database: what was planned is what is served.
    with running_api(tmp_path, databases, migrated=False) as found:
        yield found


def planned(farm: ControlPlane, value: float = 45.0, card: str | None = CARD, **more: Any) -> Claim:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK, card=card, **more)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, value))
    farm.scan()
    farm.plan()
    (claim,) = farm.claims()
    return claim


def change(farm: ControlPlane, claim: Claim, **fields: Any) -> None:
    with farm.database.transaction() as session:
        row = session.get_one(Claim, claim.claim_id)
        for name, value in fields.items():
            setattr(row, name, value)


def command(api: RunningApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "120", "REPROFARM_API": api.url})


def test_what_a_card_says_is_known_from_the_scan_on(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm)
    assert claim.state == ClaimState.PLANNED
    assert "about 8" in claim.reason
    assert claim.reason.endswith("% of 198 samples if true")
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert (plan["samples"], plan["samples_source"]) == (198, "dataset card")
    assert plan["claimed"] == 0.45
    assert plan["tolerance"] == pytest.approx(0.0693, abs=1e-4)
    assert (plan["noise"], plan["doubtful_beyond"]) == pytest.approx((0.1288, 0.1338), abs=1e-4)
    assert [case["off_by"] for case in plan["cases"]] == [0.0, 0.02, 0.05, 0.1, 0.2]
    assert [case["verdict"] for case in plan["cases"]] == ["verified"] * 3 + ["inconclusive", "mismatch"]
    assert plan["cases"][0]["part"] == pytest.approx(0.82, abs=0.01)
    assert plan["words"] == [
        "198 samples: early stopping saves little (82% expected)",
        "so small that a claim counts as reproduced up to 6.93 points off, and as a mismatch only beyond 13.38 points:"
        " honest runs differ by as much by chance",
    ]


def test_the_command_says_it_in_a_table(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm)
    result = command(api, claim.claim_id[:8])
    assert result.exit_code == 0, result.output
    for text in (
        "tiny/model  acme/capitals/capitals",
        "45.00 %",
        "198, as the dataset's card says",
        "6.93 points",
        "stops when it is sure (alpha 0.001)",
        "verified (100 %)",
        "mismatch (100 %)",
        "20 points",
        "early stopping saves little",
    ):
        assert text in result.output
    shown = json.loads(command(api, claim.claim_id[:8], "--json").output)
    assert shown == api.json(f"/v1/claims/{claim.claim_id}/plan")


def test_a_tolerance_that_is_too_small_is_said_before_the_run(farm: ControlPlane, api: RunningApi) -> None:
    farm.policy = Policy(verification=VerificationRules(tolerance=0.02))
    claim = planned(farm)
    words = "too small for its tolerance of 2.00 points: differences up to 13.38 points may be chance"
    assert words in claim.reason
    assert "a tolerance of 13.38 points would decide" in claim.reason
    result = command(api, claim.claim_id)
    assert "up to 13.38 points" in result.output
    assert "inconclusive (100 %)" in result.output
    assert words in " ".join(result.output.split())


def test_a_card_is_asked_for_once_per_revision_and_only_then(farm: ControlPlane) -> None:
    hub = farm.served.local
    repo = add_benchmark(hub, BENCHMARK, card=CARD)
    farm.scan()
    farm.scan()
    info = f"GET /api/datasets/{BENCHMARK}/revision/{farm.hub.benchmark(BENCHMARK).revision}"
    assert farm.served.requests.count(info) == 1
    hub.commit(repo, {"README.md": b"---\nlicense: mit\n---\n"}, CommitText("Say less", "acme"))
    farm.scan()
    with farm.database.reading() as session:
        assert session.get_one(Benchmark, BENCHMARK).sizes == {}


def test_a_revision_whose_card_was_not_read_has_no_known_samples(farm: ControlPlane, api: RunningApi) -> None:
    hub = farm.served.local
    repo = add_benchmark(hub, BENCHMARK, card=CARD)
    old = farm.hub.benchmark(BENCHMARK).revision
    hub.commit(repo, {"eval.yaml": EVAL_YAML.replace("Capitals", "Towns").encode()}, CommitText("Rename", "acme"))
    pinned = f"- dataset: {{id: {BENCHMARK}, task_id: capitals, revision: {old}}}\n  value: 45\n"
    submit(hub, add_model(hub, MODEL), pinned)
    farm.scan()
    farm.plan()
    (claim,) = farm.claims()
    assert api.json(f"/v1/claims/{claim.claim_id}/plan")["samples"] is None


def test_without_a_card_the_number_is_given_by_hand(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm, card=None)
    assert claim.reason.endswith(str(claim.reproduction_id))
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert (plan["samples"], plan["samples_source"], plan["tolerance"], plan["cases"]) == (None, None, None, [])
    refused = command(api, claim.claim_id)
    assert refused.exit_code == 3
    assert "acme/capitals" in refused.output
    assert "--samples" in refused.output
    given = command(api, claim.claim_id, "--samples", "12032")
    assert given.exit_code == 0, given.output
    assert "12032, as you say" in given.output
    assert api.get(f"/v1/claims/{claim.claim_id}/plan", samples=0).status_code == 422
    assert api.get(f"/v1/claims/{claim.claim_id}/plan", samples=10**9).status_code == 422


@ON_BOTH
def test_one_plan_is_worked_out_at_a_time_and_whoever_would_wait_for_long_is_to_come_back(
    farm: ControlPlane, api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()

    def slowly(foreseen: Foreseen, samples: int) -> Forecast:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return forecast(foreseen, samples)

    monkeypatch.setattr(plan, "forecast", slowly)
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.05)
    address = f"/v1/claims/{planned(farm).claim_id}/plan?samples="
    with ThreadPoolExecutor() as threads:
        telling = threads.submit(api.get, f"{address}1000")
        assert begun.wait(PATIENCE_SECONDS)
        asking = threads.submit(api.get, f"{address}1001")
        wait([asking], PATIENCE_SECONDS / 2)
        go_on.set()
        assert telling.result().status_code == 200
        busy = asking.result()
    assert (busy.status_code, busy.headers.get("retry-after")) == (503, "5")
    assert busy.json()["type"].endswith(":too-many-plans")
    assert api.get(f"{address}1001").status_code == 200


def test_a_plan_that_is_worked_out_keeps_nobody_from_the_database(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, connected = planned(farm), list[bool]()

    def noted(foreseen: Foreseen, samples: int) -> Forecast:
        connected.append(session.in_transaction())
        return forecast(foreseen, samples)

    monkeypatch.setattr(plan, "forecast", noted)
    with farm.database.looking() as session:
        assert plan.plan_view(session, session.get_one(Claim, claim.claim_id), 1000, who="one").samples == 1000
    assert connected == [False]


@pytest.mark.parametrize(
    "card",
    [
        "dataset_info: {splits: [{name: test, num_examples: -5}]}\n",
        "dataset_info: [{config_name: default, splits: [{name: test, num_examples: .inf}]}]\n",
        "dataset_info: twelve\nself: me\nignore_metadata_errors: 1\n",
        "dataset_info: [[[[[]]]]]\n",
    ],
)
def test_a_nonsense_card_costs_no_benchmark(farm: ControlPlane, card: str) -> None:
    claim = planned(farm, card=card)
    assert claim.state == ClaimState.PLANNED
    assert claim.foreseen is not None
    assert claim.foreseen["card_samples"] is None


def test_what_a_run_measured_counts_for_more_than_the_card(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm)
    assert claim.foreseen is not None
    with farm.database.reading() as session:
        run = session.get_one(Reproduction, claim.reproduction_id)
    done = {
        "dataset_id": BENCHMARK,
        "task_id": "capitals",
        "state": ReproductionState.COMPLETED,
        "measurement": measurement().model_dump(mode="json"),
    }
    # One at another revision, which says nothing of this one.
    api.rows.reproduction("other/model", **done)
    assert api.json(f"/v1/claims/{claim.claim_id}/plan")["samples"] == 198
    api.rows.reproduction("other/model", dataset_revision=run.dataset_revision, **done)
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert (plan["samples"], plan["samples_source"], plan["earlier_runs"]) == (300, "measured", 1)
    assert plan["words"][-1] == "fewer with the predictions of 1 other run completed by now"
    printed = " ".join(command(api, claim.claim_id).output.split())
    assert "300, as a run has found by now" in printed
    assert re.search(r"about [\d,]+ GPU-seconds, when it was planned \(.*no earlier run", printed)


@ON_BOTH
def test_a_claims_own_run_is_no_earlier_one(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm)
    done = {"state": ReproductionState.COMPLETED, "population": 300}
    with farm.database.transaction() as session:
        session.execute(
            update(Reproduction).where(Reproduction.reproduction_id == claim.reproduction_id).values(**done)
        )
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert (plan["samples"], plan["earlier_runs"]) == (300, 0)
    assert not any("predictions" in each for each in plan["words"])


@ON_BOTH
def test_a_linked_log_is_named_as_a_guide(farm: ControlPlane, api: RunningApi) -> None:
    claim = planned(farm)
    log = LinkedLog(greedy=True, sha256="a" * 64, scores=(0.5,) * 198, targets_sha256="b" * 64)
    reading = LinkedLogReading(url="https://hub.test/log.eval", log=log, reason="")
    change(farm, claim, linked_log=reading.model_dump(mode="json"))
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert plan["linked_log"] is True
    assert plan["words"][-1] == "fewer with the predictions of the log that the claim links to"
    unread = LinkedLogReading(url="https://hub.test/log.eval", log=None, reason="it is of another model")
    change(farm, claim, linked_log=unread.model_dump(mode="json"))
    assert api.json(f"/v1/claims/{claim.claim_id}/plan")["linked_log"] is False


def claimed_again(farm: ControlPlane, value: float, **more: Any) -> Claim:
    """A further claim on the model, by somebody else, that was found and planned."""
    repo = RepoName(RepoType.MODEL, MODEL)
    submit(farm.served.local, repo, entry(BENCHMARK, value), author="fan", create_pr=True, name=f"{value}.yaml")
    farm.scan()
    (found,) = [claim for claim in farm.claims() if claim.value == value]
    if more:
        change(farm, found, **more)
    farm.plan()
    (found,) = [claim for claim in farm.claims() if claim.value == value]
    return found


def test_a_second_run_of_a_model_is_said_to_ask_every_sample_beforehand(farm: ControlPlane, api: RunningApi) -> None:
    first = planned(farm)
    assert not api.json(f"/v1/claims/{first.claim_id}/plan")["every_sample"]
    dispatch(farm.database, farm.policy)
    second = claimed_again(farm, 46.0)
    assert second.reason.endswith("; all 198 samples")
    assert second.gpu_seconds is not None
    assert first.gpu_seconds is not None
    # 82 % of the samples, and the start of an engine.
    assert second.gpu_seconds > first.gpu_seconds
    assert second.gpu_seconds_basis is not None
    assert second.gpu_seconds_basis.startswith("198 samples")
    plan = api.json(f"/v1/claims/{second.claim_id}/plan")
    assert plan["every_sample"]
    assert {case["samples"] for case in plan["cases"]} == {198}
    assert [case["verdict"] for case in plan["cases"]] == ["verified"] * 3 + ["inconclusive", "mismatch"]
    words = "a run of this model on this benchmark was made before, so one of every sample answers this claim"
    assert plan["words"][0] == words
    assert not any("fewer with" in each or "early stopping" in each for each in plan["words"])
    result = command(api, second.claim_id)
    assert "but for this run, which asks every sample" in " ".join(result.output.split())
    # The first one goes on as it was to.
    assert not api.json(f"/v1/claims/{first.claim_id}/plan")["every_sample"]
    dispatch(farm.database, farm.policy)
    assert api.json(f"/v1/claims/{second.claim_id}/plan")["every_sample"]
    third = claimed_again(farm, 47.0)
    assert third.reproduction_id == second.reproduction_id
    assert third.reason.endswith("; all 198 samples")


@pytest.mark.parametrize("limit", [None, "day", "approval"])
def test_a_run_of_other_weights_is_said_to_ask_every_sample_beforehand(
    farm: ControlPlane, api: RunningApi, limit: str | None
) -> None:
    """Also while a budget holds its claim back, which it does until the others were planned long enough ago."""
    first = planned(farm)
    assert first.gpu_seconds is not None
    if limit is not None:
        rules = {
            "day": BudgetRules(gpu_seconds_per_day=2 * first.gpu_seconds),
            # The start of an engine is nearly all of it, and other claims take a few samples more or less.
            "approval": BudgetRules(approval_gpu_seconds=(1 + 1e-7) * first.gpu_seconds),
        }
        farm.policy = Policy(budget=rules[limit])
    repo = RepoName(RepoType.MODEL, MODEL)
    farm.served.local.commit(repo, {"logo.png": b"a logo"}, CommitText("A logo", "tiny"))
    second = claimed_again(farm, 44.0)
    assert second.state == (ClaimState.PLANNED if limit is None else ClaimState.BLOCKED)
    assert second.gpu_seconds is not None
    assert second.gpu_seconds > first.gpu_seconds, "so there is no room for it where there would be for the first"
    assert api.json(f"/v1/claims/{second.claim_id}/plan")["every_sample"]
    assert not api.json(f"/v1/claims/{first.claim_id}/plan")["every_sample"]
    if limit is None:
        dispatch(farm.database, farm.policy)
        with farm.database.reading() as session:
            run = session.get_one(Reproduction, second.reproduction_id)
        assert (run.gpu_seconds, run.stopping) == (second.gpu_seconds, None)
        assert second.reason.endswith("; all 198 samples")
        return
    cooldown = timedelta(seconds=farm.policy.reverify.cooldown_seconds)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(created_at=first.created_at - cooldown))
        held = session.get_one(Claim, second.claim_id)
        assert held.recheck_at is not None
        held.recheck_at -= cooldown
    farm.plan()
    with farm.database.reading() as session:
        later = session.get_one(Claim, second.claim_id)
    assert later.state == ClaimState.PLANNED
    assert later.gpu_seconds is not None
    assert later.gpu_seconds < second.gpu_seconds


@ON_BOTH
def test_a_run_after_one_that_failed_or_for_a_re_verification_may_stop_early(
    farm: ControlPlane, api: RunningApi
) -> None:
    first = planned(farm)
    dispatch(farm.database, farm.policy)
    anew = claimed_again(farm, 46.0, fresh_after=now(), asked_priority=REQUESTED_PRIORITY)
    assert anew.reproduction_id != first.reproduction_id
    assert "% of 198 samples if true" in anew.reason
    assert not api.json(f"/v1/claims/{anew.claim_id}/plan")["every_sample"]
    with farm.database.transaction() as session:
        for row in session.scalars(select(Reproduction)):
            row.state, row.joinable = ReproductionState.FAILED, False
    again = claimed_again(farm, 44.0)
    assert "% of 198 samples if true" in again.reason
    assert not api.json(f"/v1/claims/{again.claim_id}/plan")["every_sample"]


def test_a_second_run_with_a_limit_still_takes_what_it_is_limited_to(farm: ControlPlane, api: RunningApi) -> None:
    farm.policy = Policy(verification=VerificationRules(sample_limit=50))
    planned(farm)
    dispatch(farm.database, farm.policy)
    second = claimed_again(farm, 46.0)
    plan = api.json(f"/v1/claims/{second.claim_id}/plan")
    assert not plan["every_sample"]
    assert plan["cases"][0]["samples"] == 50


def test_policy_decides_epochs_mode_and_limit(farm: ControlPlane, api: RunningApi) -> None:
    rules = TaskRules(mode="full", epochs=4, sample_limit=50, tolerance=0.05).model_dump(exclude_none=True)
    farm.policy = Policy(verification=VerificationRules(**rules))
    claim = planned(farm)
    plan = api.json(f"/v1/claims/{claim.claim_id}/plan")
    assert (plan["mode"], plan["epochs"], plan["sample_limit"], plan["earlier_runs"]) == ("full", 4, 50, 0)
    assert plan["cases"][0]["samples"] == 50


def test_a_claim_that_waits_for_somebody_has_a_plan_already(farm: ControlPlane, api: RunningApi) -> None:
    judged = EVAL_YAML.replace("{name: includes}", "{name: model_graded_fact, args: {model: openai/o3-mini}}")
    claim = planned(farm, eval_yaml=judged)
    assert claim.state == ClaimState.BLOCKED
    assert api.json(f"/v1/claims/{claim.claim_id}/plan")["samples"] == 198


def test_a_claim_of_which_nothing_can_be_said_says_what_it_waits_for(farm: ControlPlane, api: RunningApi) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK, card=CARD)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 45.0) + entry(BENCHMARK, 45.0, task="towns"))
    farm.scan()
    for claim in farm.claims():
        answer = api.get(f"/v1/claims/{claim.claim_id}/plan")
        assert answer.status_code == 409
        assert "plans it in its next round" in answer.json()["detail"]
    farm.plan()
    unsupported = next(claim for claim in farm.claims() if claim.task_id == "towns")
    result = command(api, unsupported.claim_id)
    assert result.exit_code == 3
    assert "there is nothing to run" in result.output
    assert "'towns'" in result.output
    assert api.get("/v1/claims/abcdef/plan").status_code == 404
