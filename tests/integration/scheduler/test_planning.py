"""Planning against a live local Hub: pinned revisions, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import select

from deploy.localhub.commits import CommitText
from scheduler.database.tables import Reproduction
from scheduler.machine import ClaimState
from scheduler.planning import answering, carrying_out
from tests.support.databases import Databases
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane

BENCHMARK, MODEL = "acme/capitals", "tiny/model"


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(tmp_path, databases) as plane:
        yield plane


def pinned(revision: str, value: float) -> str:
    dataset = f"{{id: {BENCHMARK}, task_id: capitals, revision: '{revision}'}}"
    return f"- dataset: {dataset}\n  value: {value}\n  notes: at {value}\n"


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
    with farm.database.reading() as session:
        runs = session.scalars(select(Reproduction)).all()
    assert {run.dataset_revision for run in runs} == {old, new}
    assert len({run.spec_sha256 for run in runs}) == 2
    assert {claim.state for claim in farm.claims()} == {ClaimState.PLANNED}


@pytest.mark.parametrize(("where", "what"), [(answering, "admit"), (carrying_out, "_carry_out")])
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
