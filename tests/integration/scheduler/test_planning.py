"""Planning against a live local Hub: pinned revisions, and what they cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import HfApi
from sqlalchemy import select, update

from deploy.localhub.commits import CommitText
from scheduler.admission.admission import Admitted, Blocked
from scheduler.database.tables import Claim, Model, Reproduction, VerdictRow, now
from scheduler.planning import assessment, carrying_out
from scheduler.planning.linked_logs import LinkedLogs
from scheduler.planning.planning import AWAY_IN_A_ROW
from scheduler.planning.planning_facts import PlanningFacts
from scheduler.state_machine import ClaimState
from specs.policy.watch import WatchRules
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.deciding import complete
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK, MODEL = "acme/capitals", "tiny/model"

databases = mostly_sqlite
farm = empty_farm


def pinned(revision: str, value: float) -> str:
    dataset = f"{{id: {BENCHMARK}, task_id: capitals, revision: '{revision}'}}"
    return f"- dataset: {dataset}\n  value: {value}\n  notes: at {value}\n"


def put_off(farm: ControlPlane, claim_ids: list[str], until: datetime | None) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Claim).where(Claim.claim_id.in_(claim_ids)).values(recheck_at=until))


def test_a_claim_is_judged_at_the_revision_that_it_pins(farm: ControlPlane) -> None:
    hub = farm.served.local
    benchmark = add_benchmark(hub, BENCHMARK)
    old = farm.hub.benchmark(BENCHMARK).revision
    other = EVAL_YAML.replace("name: Capitals", "name: Capital cities").encode()
    hub.commit(benchmark, {"eval.yaml": other}, CommitText("Rename", "acme"))
    new = farm.hub.benchmark(BENCHMARK).revision
    submit(hub, add_model(hub, MODEL), pinned(old, 50.0) + pinned("main", 60.0) + pinned(new, 70.0))
    farm.scan()
    farm.plan()
    runs = farm.reproductions()
    assert {run.dataset_revision for run in runs} == {old, new}
    assert len({run.spec_sha256 for run in runs}) == 2
    assert {claim.state for claim in farm.claims()} == {ClaimState.PLANNED}


@ON_BOTH
@pytest.mark.parametrize("beside", ["[]", "[{name: match}]"])
def test_a_sound_task_beside_one_that_inspect_refuses_is_run_and_that_no_command_repeats_it_is_kept(
    farm: ControlPlane, beside: str
) -> None:
    _, _, sound = EVAL_YAML.partition("tasks:\n")
    other = sound.replace("id: capitals", "id: other").replace("[{name: includes}]", beside)
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK, EVAL_YAML + other)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 50.0))
    farm.scan()
    farm.plan()
    (run,) = farm.reproductions()
    assert (run.spec_refusal or "").startswith("tasks[1].scorers" if beside == "[]" else "")
    assert (run.spec_refusal is None) == (beside != "[]")


def test_of_two_scores_with_and_without_tools_the_one_without_is_run(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    entries = [entry(BENCHMARK, 22.1, more="  notes: No tools\n"), entry(BENCHMARK, 44.9, more="  notes: With tools\n")]
    submit(hub, add_model(hub, MODEL), "".join(entries))
    farm.scan()
    farm.plan()
    without, with_tools = farm.claims()
    assert (without.state, with_tools.state) == (ClaimState.PLANNED, ClaimState.DECIDED)
    assert "say that the model had tools" in with_tools.reason


@pytest.mark.parametrize(("where", "what"), [(assessment, "admit"), (carrying_out, "_carry_out")])
def test_a_claim_that_planning_breaks_over_holds_up_nobody(
    farm: ControlPlane, where: ModuleType, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(
        hub,
        add_model(hub, MODEL),
        "".join(entry(BENCHMARK, each, more=f"  notes: at {each}\n") for each in (50, 60, 70)),
    )
    farm.scan()
    real = getattr(where, what)

    def breaks(*arguments: object, **more: object) -> object:
        if any(getattr(each, "value", None) == 60 for each in arguments):
            raise ValueError("a flaw")
        return real(*arguments, **more)

    monkeypatch.setattr(where, what, breaks)
    farm.plan()
    found = {claim.value: claim for claim in farm.claims()}
    assert [found[value].state for value in (50, 60, 70)] == [
        ClaimState.PLANNED,
        ClaimState.SUBMITTED,
        ClaimState.PLANNED,
    ]
    assert found[60].reason.startswith("waits for the farm's operator: ValueError while it was planned")


def test_a_revision_that_does_not_exist_is_unsupported_and_named(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), pinned("f" * 40, 50.0))
    farm.scan()
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.DECIDED
    assert claim.reason.startswith("unsupported: ")
    assert "f" * 40 in claim.reason


@ON_BOTH
def test_a_benchmark_that_is_hidden_for_a_while_decides_nothing_about_the_revisions_that_claims_pin(
    farm: ControlPlane,
) -> None:
    hub = farm.served.local
    benchmark = add_benchmark(hub, BENCHMARK)
    old = farm.hub.benchmark(BENCHMARK).revision
    hub.commit(benchmark, {"README.md": b"# More"}, CommitText("Say more", "acme"))
    submit(hub, add_model(hub, MODEL), pinned(old, 50.0))
    farm.scan()
    hub.set_private(benchmark, True)
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.SUBMITTED, claim.reason
    assert claim.reason == f"waits for {BENCHMARK}, which is not on the Hub just now"
    hub.set_private(benchmark, False)
    put_off(farm, [claim.claim_id], until=None)
    farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED


def test_claims_that_pin_revisions_of_a_hidden_benchmark_hold_up_nobody_behind_them(farm: ControlPlane) -> None:
    hub = farm.served.local
    benchmark = add_benchmark(hub, BENCHMARK)
    add_benchmark(hub, "acme/other")
    old = farm.hub.benchmark(BENCHMARK).revision
    hub.commit(benchmark, {"README.md": b"# More"}, CommitText("Say more", "acme"))
    submit(hub, add_model(hub, MODEL), "".join(pinned(old, 50.0 + n) for n in range(AWAY_IN_A_ROW + 2)))
    farm.scan()
    submit(hub, add_model(hub, "tiny/behind"), entry("acme/other", 50))
    farm.scan()
    hub.set_private(benchmark, True)
    del farm.served.requests[:]
    farm.plan()
    *hidden, behind = farm.claims()
    assert behind.state == ClaimState.PLANNED
    assert {(claim.state, claim.reason) for claim in hidden} == {
        (ClaimState.SUBMITTED, f"waits for {BENCHMARK}, which is not on the Hub just now")
    }
    assert all(claim.recheck_at is not None for claim in hidden), "others have their turn meanwhile"
    assert len(farm.served.requests) == 1, farm.served.requests


def test_many_claims_on_one_known_revision_cost_no_request_each(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    head = farm.hub.benchmark(BENCHMARK).revision
    submit(hub, add_model(hub, MODEL), "".join(pinned(head, 50.0 + n) for n in range(20)))
    farm.scan()
    del farm.served.requests[:]
    farm.plan()
    assert farm.served.requests == []
    assert {claim.state for claim in farm.claims()} == {ClaimState.PLANNED}


def test_a_revision_that_is_only_proposed_is_not_the_benchmark(farm: ControlPlane) -> None:
    hub = farm.served.local
    benchmark = add_benchmark(hub, BENCHMARK)
    easy = EVAL_YAML.replace("target: answer", "target: question").encode()
    hub.commit(benchmark, {"eval.yaml": easy}, CommitText("Make it easy", "tiny"), create_pr=True)
    proposed = farm.hub.api.dataset_info(BENCHMARK, revision="refs/pr/1").sha
    assert proposed is not None
    submit(hub, add_model(hub, MODEL), pinned("refs/pr/1", 90.0) + pinned(proposed, 91.0) + pinned(proposed[:12], 92.0))
    farm.scan()
    farm.plan()
    assert [claim.state for claim in farm.claims()] == [ClaimState.DECIDED] * 3
    assert all("what stands on a pull request is not the benchmark" in claim.reason for claim in farm.claims())


def test_branches_tags_and_short_hashes_of_the_benchmarks_own_are_followed(farm: ControlPlane) -> None:
    hub = farm.served.local
    benchmark = add_benchmark(hub, BENCHMARK)
    old = farm.hub.benchmark(BENCHMARK).revision
    owner = HfApi(endpoint=farm.served.url, token=hub.add_token("acme"))
    owner.create_tag(BENCHMARK, tag="v1", repo_type="dataset")
    hub.commit(benchmark, {"README.md": b"# More"}, CommitText("Say more", "acme"))
    owner.create_branch(BENCHMARK, branch="next", repo_type="dataset")
    new = farm.hub.benchmark(BENCHMARK).revision
    text = pinned("v1", 50.0) + pinned("next", 60.0) + pinned(old[:10], 70.0) + pinned(new[:10], 80.0)
    submit(hub, add_model(hub, MODEL), text)
    farm.scan()
    farm.plan()
    with farm.database.reading() as session:
        found = {claim.value: claim.reproduction_id for claim in farm.claims()}
        revisions = {value: session.get_one(Reproduction, run).dataset_revision for value, run in found.items()}
    assert revisions == {50.0: old, 60.0: new, 70.0: old, 80.0: new}


def test_nothing_is_planned_for_files_that_changed_while_a_claim_was_looked_at(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 50))
    farm.scan()
    look = assessment.assess

    def changed_meanwhile(*arguments: Any) -> assessment.Assessment:
        found = look(*arguments)
        hub.commit(model, {"model.safetensors": b"better weights"}, CommitText("Better", "tiny"))
        farm.scan(WatchRules(models=(MODEL,)))
        return found

    with monkeypatch.context() as patched:
        patched.setattr("scheduler.planning.planning.assess", changed_meanwhile)
        farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.SUBMITTED
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.PLANNED


def test_what_claims_on_a_completed_run_have_in_common_is_worked_out_once(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 50))
    for fan, value in (("ada", 50), ("bob", 50), ("eve", 90)):
        submit(hub, model, entry(BENCHMARK, value), author=fan, create_pr=True, name=f"{fan}.yaml")
    farm.scan()
    late = [claim.claim_id for claim in farm.claims() if claim.pull_request is not None]
    put_off(farm, late, until=now() + timedelta(hours=1))
    farm.plan()
    complete(farm, 100)
    put_off(farm, late, until=None)
    calls = {"admit": 0, "judge_claims": 0}

    def counted(where: ModuleType, what: str) -> None:
        real = getattr(where, what)

        def count(*arguments: Any, **more: Any) -> Any:
            calls[what] += 1
            return real(*arguments, **more)

        monkeypatch.setattr(where, what, count)

    counted(assessment, "admit")
    counted(carrying_out, "judge_claims")
    farm.plan()
    with farm.database.reading() as session:
        outcomes = {row.claim_id: row.outcome for row in session.scalars(select(VerdictRow))}
    assert sorted((claim.value or 0.0, outcomes[claim.claim_id]) for claim in farm.claims()) == [
        (50, "verified"),
        (50, "verified"),
        (50, "verified"),
        (90, "mismatch"),
    ]
    assert len(farm.reproductions()) == 1
    # The two that say the same are looked at once, and the run reads what it measured once for all three.
    assert calls == {"admit": 2, "judge_claims": 1}


@ON_BOTH
def test_a_model_that_changes_within_a_round_is_seen_as_it_is_when_it_is_read_again(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 50))
    farm.scan()
    facts = PlanningFacts(farm.database, farm.hub)
    (claim,) = farm.claims()
    with farm.database.transaction() as session:
        row = session.get_one(Model, claim.model_id)
    assert isinstance(
        assessment.assess(facts, farm.policy, claim, row, LinkedLogs(farm.database, farm.hub)).found, Admitted
    )
    with farm.database.transaction() as session:
        row = session.get_one(Model, claim.model_id)
        row.weights_sha256 = None
    assert isinstance(
        assessment.assess(facts, farm.policy, claim, row, LinkedLogs(farm.database, farm.hub)).found, Blocked
    )


def test_many_made_up_revisions_cost_no_request_each(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), "".join(pinned(f"{n:040x}", 50.0 + n) for n in range(20)))
    farm.scan()
    del farm.served.requests[:]
    farm.plan()
    assert len(farm.served.requests) == 2, farm.served.requests
    assert {claim.state for claim in farm.claims()} == {ClaimState.DECIDED}
