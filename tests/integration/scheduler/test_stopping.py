"""What a run is to stop by: fixed when it is first sent, after its claims, from what the farm knows by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from sqlalchemy import select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.api.plan import plan_view
from scheduler.collect.ending import end_attempt
from scheduler.database.tables import Claim, Model, Reproduction, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.reaping.reaper import reap
from scheduler.record import move_reproduction
from scheduler.requests import intervening
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.watch.models import look_at_model
from specs.judging.history import from_earlier_runs, from_same_claim
from specs.judging.sample_order import seeded_order
from specs.measurement import Scores
from specs.messages import AttemptOutcome, Order
from specs.policy.rules import Policy
from specs.policy.verification import VerificationRules
from tests.support import deciding
from tests.support.asking_again import reverify
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.queues import EMPTY_QUEUES
from tests.support.rows import measurement
from tests.support.scheduler import ControlPlane, control_plane
from tests.support.sent_batches import sent_batches

BENCHMARK = "acme/capitals"
N = 120
SCORES = [float(bit) for bit in np.random.default_rng(0).integers(0, 2, N)]


databases = mostly_sqlite


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(tmp_path, databases) as plane:
        add_benchmark(plane.served.local, BENCHMARK)
        yield plane


def claim(farm: ControlPlane, percent: float, model: str = "tiny/model") -> str:
    """Submit a claim on a pull request of a model's repo, and have it found and planned; returns its id."""
    hub, repo = farm.served.local, RepoName(RepoType.MODEL, model)
    if model not in {each.model_id for each in farm.claims()}:
        add_model(hub, model, model.encode())
    submit(hub, repo, entry(BENCHMARK, percent), author="fan", create_pr=True, name=f"at-{percent}.yaml")
    farm.scan()
    farm.plan()
    (found,) = [each for each in farm.claims() if each.model_id == model and each.value == percent]
    assert found.state in {ClaimState.PLANNED, ClaimState.DECIDED}
    return found.claim_id


def run_of(farm: ControlPlane, claim_id: str) -> Reproduction:
    with farm.database.reading() as session:
        return session.get_one(Reproduction, session.get_one(Claim, claim_id).reproduction_id)


def orders(farm: ControlPlane) -> list[Order]:
    """Send out what is queued; all orders so far, oldest first."""
    dispatch(farm.database, farm.policy)
    return [order for batch in sent_batches(farm.database) for order in batch.orders]


def all_scores() -> Scores:
    return dict(enumerate(SCORES, start=1))


def complete(farm: ControlPlane, claim_id: str, samples: int, scores: Sequence[float] = SCORES) -> None:
    """Have the claim's reproduction counted as completed after so many samples. The claim stays planned."""
    row = run_of(farm, claim_id)
    assert row.seed is not None
    ids = seeded_order(range(1, len(scores) + 1), row.seed)[:samples]
    measured = measurement().model_copy(
        update={
            "population": len(scores),
            "sample_ids": tuple(ids),
            "sample_scores": tuple(scores[sample_id - 1] for sample_id in ids),
        }
    )
    with farm.database.transaction() as session:
        session.execute(
            update(Reproduction)
            .where(Reproduction.reproduction_id == row.reproduction_id)
            .values(
                state=ReproductionState.COMPLETED,
                measurement=measured.model_dump(mode="json"),
                complete=samples == len(scores),
            )
        )


def test_the_seed_is_drawn_when_a_run_is_first_sent_and_kept(farm: ControlPlane) -> None:
    one = claim(farm, 50.0)
    assert run_of(farm, one).seed is None
    (first,) = orders(farm)
    assert run_of(farm, one).seed == first.seed
    with farm.database.transaction() as session:
        row = session.get_one(Reproduction, first.ref.reproduction_id)
        end_attempt(session, farm.policy, row, AttemptOutcome.ENGINE_FAILED, "the engine died")
        row.not_before = None
    first, second = orders(farm)
    assert (second.ref.attempt, second.seed, second.stopping) == (2, first.seed, first.stopping)


def test_a_run_is_to_answer_every_claim_that_came_before_it_was_sent(farm: ControlPlane) -> None:
    half, more = claim(farm, 50.0), claim(farm, 60.0)
    (order,) = orders(farm)
    assert order.stopping is not None
    assert {each.claim_id: each.claimed for each in order.stopping.claims} == {half: 0.5, more: 0.6}
    assert (order.stopping.alpha, order.stopping.predictors) == (0.001, ())


def test_a_claim_that_comes_after_the_run_was_sent_gets_a_run_of_its_own(farm: ControlPlane) -> None:
    early = claim(farm, 50.0)
    orders(farm)
    late = claim(farm, 60.0)
    assert run_of(farm, late).reproduction_id != run_of(farm, early).reproduction_id
    complete(farm, early, 30)
    assert run_of(farm, claim(farm, 61.0)).reproduction_id == run_of(farm, late).reproduction_id, "not sent yet"
    orders(farm)
    after = claim(farm, 62.0)
    assert run_of(farm, after).reproduction_id == run_of(farm, late).reproduction_id, "it asks every sample"


def cancel(farm: ControlPlane, claim_id: str) -> Reproduction:
    """By its author, who saw how it went."""
    with farm.database.transaction() as session:
        row = session.get_one(Reproduction, run_of(farm, claim_id).reproduction_id)
        move_reproduction(session, row, ReproductionState.CANCELLED, "no claim needs it any more")
        return row


@pytest.mark.parametrize("mode", ["sequential", "full"])
def test_a_run_of_every_sample_that_was_cancelled_is_begun_again_whatever_is_claimed(
    farm: ControlPlane, mode: Literal["sequential", "full"]
) -> None:
    farm.policy = Policy(verification=VerificationRules(mode=mode))
    if mode == "sequential":
        claim(farm, 50.0)
        orders(farm)
    for percent in (50.1, 50.2, 50.3):
        one = claim(farm, percent)
        *_, order = orders(farm)
        assert (order.ref.reproduction_id, order.stopping) == (run_of(farm, one).reproduction_id, None)
        run = cancel(farm, one)
        assert run.seed == order.seed
    assert len({run.seed for run in farm.reproductions()}) == (2 if mode == "sequential" else 1)
    assert len(farm.reproductions()) == (4 if mode == "sequential" else 3)
    last = [claim(farm, 50.4), claim(farm, 50.5)]
    assert {run_of(farm, each).seed for each in last} == {run.seed}
    assert len({run_of(farm, each).reproduction_id for each in last}) == 1, "it takes claims from the start"


@pytest.mark.parametrize("how", ["it stopped early", "it is under way", "it was cancelled"])
def test_whoever_claims_one_value_after_another_has_two_draws(farm: ControlPlane, how: str) -> None:
    first = claim(farm, 90.0)
    (order,) = orders(farm)
    assert order.stopping is not None
    if how == "it stopped early":
        complete(farm, first, 30)
    if how == "it was cancelled":
        cancel(farm, first)
    second = claim(farm, 89.9)
    *_, order = orders(farm)
    assert order.ref.reproduction_id == run_of(farm, second).reproduction_id
    assert order.stopping is None, "it asks every sample"
    complete(farm, second, N)
    for percent in (89.8, 89.7, 89.6):
        third = claim(farm, percent)
        assert run_of(farm, third).reproduction_id == run_of(farm, second).reproduction_id, "and answers what follows"


@ON_BOTH
@pytest.mark.parametrize("at_once", [True, False])
def test_a_claim_on_each_commit_of_a_benchmark_is_one_run_that_may_stop_early(
    farm: ControlPlane, *, at_once: bool
) -> None:
    bench, repo = RepoName(RepoType.DATASET, BENCHMARK), add_model(farm.served.local, "tiny/model")
    farm.scan()
    for n in range(3):
        farm.served.local.commit(bench, {"README.md": f"# Note {n}".encode()}, CommitText("Say more", "acme"))
    commits = list(farm.hub.own_commits(BENCHMARK).main)[:3]
    named = entry(BENCHMARK, 61.0).replace(f"id: {BENCHMARK}", f"id: {BENCHMARK}\n    revision: {{}}")
    texts = [f"{named.format(commit)}  notes: of {commit}\n" for commit in commits]
    for n in range(1 if at_once else 3):
        submit(farm.served.local, repo, "".join(texts if at_once else texts[: n + 1]))
        farm.scan()
        farm.plan()
        orders(farm)
        if not at_once:
            deciding.complete(farm, 100)
    runs = farm.reproductions()
    assert [run.stopping is not None for run in runs] == [True, False, False]
    assert len({run.dataset_revision for run in runs}) == len({run.seed for run in runs}) == 3


@ON_BOTH
def test_a_claim_on_a_pull_request_makes_no_run_of_the_authors_one_of_every_sample(farm: ControlPlane) -> None:
    """The author has a run that may stop early, once; on pull requests there is one whoever opens them."""
    bench, repo = RepoName(RepoType.DATASET, BENCHMARK), add_model(farm.served.local, "tiny/model")
    farm.scan()
    for n in range(4):
        farm.served.local.commit(bench, {"README.md": f"# Note {n}".encode()}, CommitText("Say more", "acme"))
    named = entry(BENCHMARK, 61.0).replace(f"id: {BENCHMARK}", f"id: {BENCHMARK}\n    revision: {{}}")
    commits = list(farm.hub.own_commits(BENCHMARK).main)[:4]
    fans, authors, more, another_fans = (f"{named.format(commit)}  notes: of {commit}\n" for commit in commits)
    for text, on_pull_request in ((fans, True), (authors, False), (authors + more, False), (another_fans, True)):
        by_whom: dict[str, Any] = {"author": "fan", "create_pr": True, "name": "fan.yaml"} if on_pull_request else {}
        submit(farm.served.local, repo, text, **by_whom)
        farm.scan()
        farm.plan()
        orders(farm)
    runs = farm.reproductions()
    assert [(run.community, run.stopping is not None) for run in runs] == [
        (True, True),
        (False, True),
        (False, False),
        (True, False),
    ]


@ON_BOTH
@pytest.mark.parametrize(
    ("what", "early"),
    [
        ("a file more", False),
        ("a file more, of which a re-verification is asked", False),
        ("a file more, and the first was cancelled", False),
        ("a file more, and the first was cancelled and tried again", False),
        ("a file more, and the first was cancelled unsent", True),
        ("a file more, two days later, and the first was begun again and cancelled unsent", True),
        ("a file more, and the first failed", True),
        ("a file more, two days later", True),
        ("another task", True),
    ],
)
def test_a_run_of_other_weights_within_a_day_asks_every_sample(farm: ControlPlane, what: str, *, early: bool) -> None:
    first = claim(farm, 90.0)
    if "unsent" not in what or "again" in what:
        orders(farm)
    if "re-verification" in what:
        deciding.complete(farm, 100)
    if "failed" in what:
        with farm.database.transaction() as session:
            row = session.get_one(Reproduction, run_of(farm, first).reproduction_id)
            end_attempt(session, farm.policy, row, AttemptOutcome.MODEL_FAILED, "the weights cannot be loaded")
    if "again" in what:
        intervening.cancel(farm.database, first, "it goes badly", "hub:tiny", operates=False)
    elif "cancelled" in what:
        cancel(farm, first)
    with farm.database.transaction() as session:
        made = now() - timedelta(days=2) if "later" in what else Reproduction.created_at
        task = "rivers" if what == "another task" else Reproduction.task_id
        session.execute(update(Reproduction).values(created_at=made, task_id=task))
    if "begun again" in what:
        intervening.retry(farm.database, first, "after all", "hub:tiny")
        farm.plan()
        intervening.cancel(farm.database, first, "not yet", "hub:tiny", operates=False)
    repo = RepoName(RepoType.MODEL, "tiny/model")
    farm.served.local.commit(repo, {"logo.png": b"a logo"}, CommitText("A logo", "tiny"))
    look_at_model(farm.database, farm.hub, "tiny/model", None)
    if "re-verification" in what:
        second = reverify(farm.database, first, "a new logo", "hub:tiny").claim_id
    elif "tried again" in what:
        # The claim's row is the same, and has another run.
        intervening.retry(farm.database, first, "better luck", "hub:tiny")
        second = first
    else:
        second = claim(farm, 89.9)
    farm.plan()
    *_, order = orders(farm)
    assert order.ref.reproduction_id == run_of(farm, second).reproduction_id
    assert len({run.weights_sha256 for run in farm.reproductions()}) == 2
    assert (order.stopping is not None) == early


@ON_BOTH
@pytest.mark.parametrize(
    ("how", "name", "early"),
    [
        ("renamed", "tiny/model0", False),
        ("copied", "tiny/model0", False),
        ("copied at once", "tiny/model0", False),
        ("claimed on a pull request, and copied", "tiny/model0", True),
        ("copied, two days later", "tiny/model0", True),
        ("copied", "big/model", True),
    ],
)
def test_a_run_of_the_same_weights_under_another_name_asks_every_sample(
    farm: ControlPlane, how: str, name: str, *, early: bool
) -> None:
    hub, text = farm.served.local, entry(BENCHMARK, 90.0)
    repo = add_model(hub, "tiny/model")
    by_whom: dict[str, Any] = {"author": "fan", "create_pr": True} if "pull request" in how else {}
    submit(hub, repo, text, **by_whom)

    def look() -> None:
        with farm.database.transaction() as session:
            session.execute(update(Model).values(looked_at=None))
        farm.scan()
        farm.plan()
        orders(farm)

    if how != "copied at once":
        look()
    if "later" in how:
        with farm.database.transaction() as session:
            session.execute(update(Reproduction).values(created_at=now() - timedelta(days=2)))
    if how == "renamed":
        hub.move_repo(repo, RepoName(RepoType.MODEL, name))
        # The old name's claim is withdrawn, and its run, which goes badly, cancelled.
        look()
        reap(farm.database, farm.policy, *EMPTY_QUEUES)
    else:
        submit(hub, add_model(hub, name), text)
    look()
    runs = farm.reproductions()
    assert len({run.weights_sha256 for run in runs}) == 1
    assert len({run.model_id for run in runs}) == len({run.seed for run in runs}) == 2
    assert [run.stopping is not None for run in runs] == [True, early]
    plans = {claim.model_id: claim.foreseen for claim in farm.claims()}
    assert (plans[runs[-1].model_id] or {})["every_sample"] != early


def claims_at_once(farm: ControlPlane, *percents: float) -> list[str | None]:
    """Submit claims on one task, each with notes of its own; the runs that they have, of the claims in that order."""
    repo = add_model(farm.served.local, "tiny/model")
    text = "".join(entry(BENCHMARK, each, more=f"  notes: number {n}\n") for n, each in enumerate(percents))
    submit(farm.served.local, repo, text)
    farm.scan()
    farm.plan()
    return [each.reproduction_id for each in sorted(farm.claims(), key=lambda each: each.entry)]


@pytest.fixture
def few_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("judging.stopping", "planning.joinable_runs"):
        monkeypatch.setattr(f"scheduler.{module}.MOST_CLAIMS", 3)


@ON_BOTH
@pytest.mark.usefixtures("few_at_most")
@pytest.mark.parametrize("said", ["the same", "as many as a run decides", "more"])
def test_however_many_claims_come_at_once_they_have_one_draw(farm: ControlPlane, said: str) -> None:
    percents = {
        "the same": [50.0] * 8,
        "as many as a run decides": [50.0, 51.0, 52.0, 50.0],
        "more": [50.0, 51, 52, 53],
    }
    runs = claims_at_once(farm, *percents[said])
    assert len(set(runs)) == 1
    plans = set()
    for each in farm.claims():
        with farm.database.reading() as session:
            plans.add(plan_view(session, session.get_one(Claim, each.claim_id), given=N, who="one").every_sample)
    assert plans == {said == "more"}
    (order,) = orders(farm)
    if said == "more":
        assert order.stopping is None, "it asks every sample, which needs no tests"
        late = claim(farm, 54.0)
        assert run_of(farm, late).reproduction_id == runs[0], "and answers what follows"
    else:
        assert order.stopping is not None
        assert sorted(each.claimed for each in order.stopping.claims) == sorted({each / 100 for each in percents[said]})


@ON_BOTH
@pytest.mark.usefixtures("few_at_most")
def test_a_run_that_never_has_every_sample_decides_no_more_claims_than_it_can(farm: ControlPlane) -> None:
    farm.policy = Policy(verification=VerificationRules(sample_limit=100))
    runs = claims_at_once(farm, 50.0, 50.0, 51.0, 52.0, 53.0)
    assert sorted(runs.count(run) for run in set(runs)) == [1, 4]


def test_what_is_no_further_try_may_stop_early(farm: ControlPlane) -> None:
    first = claim(farm, 90.0)
    orders(farm)
    other = claim(farm, 90.0, "tiny/other")
    *_, order = orders(farm)
    assert order.ref.reproduction_id == run_of(farm, other).reproduction_id
    assert order.stopping is not None, "of another model"
    with farm.database.transaction() as session:
        for row in session.scalars(select(Reproduction)):
            end_attempt(session, farm.policy, row, AttemptOutcome.MODEL_FAILED, "the weights cannot be loaded")
    assert run_of(farm, first).state == ReproductionState.FAILED
    again = claim(farm, 89.0)
    *_, order = orders(farm)
    assert order.ref.reproduction_id == run_of(farm, again).reproduction_id
    assert order.stopping is not None, "nothing was drawn where the farm failed"


@ON_BOTH
def test_a_run_of_every_sample_answers_later_claims_at_once(farm: ControlPlane) -> None:
    early = claim(farm, 50.0)
    orders(farm)
    complete(farm, early, N)
    late = claim(farm, 100 * sum(SCORES) / N)
    assert run_of(farm, late).reproduction_id == run_of(farm, early).reproduction_id
    (found,) = [each for each in farm.claims() if each.claim_id == late]
    assert found.reason.startswith("verified: ")


def test_a_full_run_takes_claims_while_it_is_under_way(farm: ControlPlane) -> None:
    farm.policy = Policy(verification=VerificationRules(mode="full"))
    early = claim(farm, 50.0)
    (order,) = orders(farm)
    assert order.stopping is None
    assert run_of(farm, claim(farm, 60.0)).reproduction_id == run_of(farm, early).reproduction_id


def test_earlier_runs_of_other_models_predict_answers_unless_policy_says_no(farm: ControlPlane) -> None:
    others = [claim(farm, 50.0, f"tiny/other{n}") for n in range(2)]
    sent = orders(farm)
    for n, other in enumerate(others):
        complete(farm, other, N if n else 100)
    claim(farm, 50.0)
    order = next(each for each in orders(farm) if each not in sent)
    seen = all_scores()
    part: Scores = {each: seen[each] for each in seeded_order(range(1, N + 1), sent[0].seed)[:100]}
    assert order.stopping is not None
    wanted = from_earlier_runs(seeded_order(range(1, N + 1), order.seed), [seen, part])
    assert order.stopping.predictors == wanted
    assert len(wanted) == 4

    farm.policy = Policy(verification=VerificationRules(history=False))
    claim(farm, 51.0)
    without = orders(farm)[-1]
    assert without.stopping is not None
    assert without.stopping.predictors == ()


def test_an_earlier_run_of_every_sample_of_the_same_model_is_paired_with(farm: ControlPlane) -> None:
    early = claim(farm, 50.0)
    sent = orders(farm)
    complete(farm, early, N)
    farm.policy = Policy(verification=VerificationRules(epochs=2))
    claim(farm, 52.0)
    order = next(each for each in orders(farm) if each not in sent)
    assert order.stopping is not None
    wanted = from_same_claim(seeded_order(range(1, N + 1), order.seed), all_scores(), [])
    assert order.stopping.predictors == wanted


@ON_BOTH
def test_runs_on_another_revision_of_the_dataset_predict_nothing(farm: ControlPlane) -> None:
    early = claim(farm, 50.0)
    orders(farm)
    complete(farm, early, N)
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(dataset_revision="f" * 40))
    claim(farm, 50.0, "tiny/other")
    order = orders(farm)[-1]
    assert order.stopping is not None
    assert order.stopping.predictors == ()
