"""A claim that has its verdict is verified again, by a fresh run, and not as often as somebody pleases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from deploy.cli.control_plane import operator
from deploy.cli.main import app
from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY, PERIODIC_PRIORITY, REQUESTED_PRIORITY
from scheduler.collect.ending import end_attempt
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, Event, Model, Reproduction, VerdictRow, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.requests.intervening import cancel, retry
from scheduler.requests.locking import find_claim
from scheduler.requests.repeating import repeat_stale
from scheduler.requests.reverifying import Asked, ask_for
from scheduler.state_machine import ClaimState, ReproductionState
from specs.errors import InterventionError
from specs.judging.staleness import READ_AS
from specs.messages import AttemptOutcome
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import Policy
from tests.support.asking_again import RULES, reverify
from tests.support.databases import ON_BOTH, SQLITE, Databases, mostly_sqlite
from tests.support.deciding import complete
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.rows import Rows
from tests.support.scheduler import ControlPlane, control_plane

ADA = "hub:ada"
AT_ONCE = ReverifyRules(cooldown_seconds=0)


databases = mostly_sqlite


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[tuple[Path, ControlPlane]]:
    folder = tmp_path_factory.mktemp("world")
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench")
        model = add_model(hub, "tiny/model")
        submit(hub, model, entry("acme/bench", 50))
        submit(hub, model, entry("acme/bench", 90), author="fan", create_pr=True, name="fan.yaml")
        plane.scan()
        plane.plan()
        complete(plane, 100)
        plane.database.engine.dispose()
        yield folder, plane


@pytest.fixture
def farm(world: tuple[Path, ControlPlane], tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """A claim of the author and one of somebody else, which one run found verified and a mismatch."""
    folder, plane = world
    database = Database(databases.copy(databases.url(folder), tmp_path))
    yield replace(plane, database=database)
    database.engine.dispose()


def living(farm: ControlPlane) -> dict[float | None, Claim]:
    return {claim.value: claim for claim in farm.claims() if claim.live}


def repeat(database: Database, claim_id: str) -> Asked:
    """As the farm does by itself."""
    with database.transaction() as session:
        return ask_for(session, find_claim(session, claim_id), "its age", "scheduler", PERIODIC_PRIORITY, rules=RULES)


def outcome_of(farm: ControlPlane, claim_id: str) -> str:
    with farm.database.reading() as session:
        return session.get_one(VerdictRow, claim_id).outcome


@ON_BOTH
def test_the_old_verdict_stays_and_a_run_that_ran_every_sample_does_not_answer_again(farm: ControlPlane) -> None:
    old = living(farm)[50.0]
    lines = reverify(farm.database, old.claim_id[:8], "new drivers", ADA).lines
    assert any(old.claim_id in line for line in lines)
    farm.plan()
    anew = living(farm)[50.0]
    assert (anew.state, anew.supersedes, anew.asked_priority) == (ClaimState.PLANNED, old.claim_id, REQUESTED_PRIORITY)
    _, second = farm.reproductions()
    assert (outcome_of(farm, old.claim_id), anew.reproduction_id) == ("verified", second.reproduction_id)
    complete(farm, 100)
    assert outcome_of(farm, anew.claim_id) == "verified"
    with farm.database.reading() as session:
        was = session.get_one(Claim, old.claim_id)
        who = session.scalars(select(Event.actor).where(Event.subject_id == anew.claim_id)).first()
    assert (was.state, was.superseded_by, who) == (ClaimState.WITHDRAWN, anew.claim_id, ADA)
    before = {claim.claim_id for claim in farm.claims()}
    farm.scan()
    assert {claim.claim_id for claim in farm.claims()} == before, "the Hub still says the same"


def test_the_fresh_run_is_told_what_earlier_ones_answered_but_draws_its_samples_anew(farm: ControlPlane) -> None:
    reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA)
    farm.plan()
    dispatch(farm.database, farm.policy)
    first, fresh = farm.reproductions()
    assert (fresh.asked_anew, fresh.key) == (True, first.key)
    assert fresh.stopping is not None
    assert fresh.stopping["predictors"], "which saves samples, and changes no verdict"
    assert fresh.seed != first.seed


def test_several_requests_for_the_same_run_share_one(farm: ControlPlane) -> None:
    for claim in living(farm).values():
        reverify(farm.database, claim.claim_id, "?", ADA)
    farm.plan()
    assert {claim.reproduction_id for claim in living(farm).values()} == {farm.reproductions()[-1].reproduction_id}
    assert len(farm.reproductions()) == 2


@ON_BOTH
def test_a_run_that_was_sent_out_before_the_request_does_not_answer_it(tmp_path: Path, databases: Databases) -> None:
    policy = Policy.model_validate({"verification": {"mode": "full"}})
    with control_plane(tmp_path, databases, policy) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench")
        model = add_model(hub, "tiny/model")
        submit(hub, model, entry("acme/bench", 50))
        plane.scan()
        plane.plan()
        complete(plane, 100)
        (claim,) = plane.claims()
        first = reverify(plane.database, claim.claim_id, "?", ADA)
        plane.plan()
        dispatch(plane.database, plane.policy)
        # While that runs, which takes further claims as it runs all samples, another claim of the same key comes.
        submit(hub, model, entry("acme/bench", 51), author="fan", create_pr=True, name="fan.yaml")
        plane.scan()
        plane.plan()
        with plane.database.reading() as session:
            judged = session.scalars(select(Claim.reproduction_id).where(Claim.live)).all()
        assert set(judged) == {plane.reproductions()[-1].reproduction_id}
        with plane.database.transaction() as session:
            session.execute(
                update(Claim)
                .where(Claim.claim_id == first.claim_id)
                .values(state=ClaimState.SUBMITTED, fresh_after=now())
            )
        plane.plan()
        assert len(plane.reproductions()) == 3
        assert [run.joinable for run in plane.reproductions()] == [False, False, True]


@pytest.mark.parametrize("ended", ["failed", "was cancelled unsent", "was cancelled under way"])
def test_once_it_was_repeated_the_earlier_run_answers_nobody_unless_that_failed_or_was_never_sent(
    farm: ControlPlane, ended: str
) -> None:
    old = living(farm)[50.0]
    asked = reverify(farm.database, old.claim_id, "?", ADA).claim_id
    farm.plan()
    if ended != "was cancelled unsent":
        dispatch(farm.database, farm.policy)
    fresh = run_of(farm, asked)
    other = put(farm, old, "main", 51)
    assert (run_of(farm, other) == fresh) == (ended == "was cancelled unsent"), "nor the run that ran every sample"
    if ended == "failed":
        dispatch(farm.database, farm.policy)
    for run in farm.reproductions()[1:]:
        if ended == "failed":
            with farm.database.transaction() as session:
                held = session.get_one(Reproduction, run.reproduction_id)
                end_attempt(session, farm.policy, held, AttemptOutcome.MODEL_FAILED, "no such architecture")
        else:
            cancel(farm.database, run.reproduction_id, "not needed", ADA)
    first, *repeated = farm.reproductions()
    last = run_of(farm, put(farm, old, "main", 52))
    if ended != "was cancelled under way":
        assert last == first.reproduction_id
        return
    assert last not in {first.reproduction_id, *(run.reproduction_id for run in repeated)}
    dispatch(farm.database, farm.policy)
    assert farm.reproductions()[-1].stopping is None, "it asks every sample"


def _copy(claim: Claim, slot: str, **more: Any) -> Claim:
    names = ("model_id", "ref", "path", "entry", "commit", "submitter", "dataset_id", "task_id", "value")
    return Claim(slot=slot, **({name: getattr(claim, name) for name in names} | more))


def test_a_request_for_what_is_under_way_joins_it_and_brings_it_forward(farm: ControlPlane) -> None:
    old = living(farm)[50.0]
    asked = repeat(farm.database, old.claim_id)
    farm.plan()
    assert farm.reproductions()[-1].priority == PERIODIC_PRIORITY
    (line,) = reverify(farm.database, asked.claim_id, "I want to know", ADA).lines
    assert "joins what is under way" in line
    assert farm.reproductions()[-1].priority == REQUESTED_PRIORITY
    assert len(farm.reproductions()) == 2
    assert "requested" in farm.history(asked.claim_id)


def test_nobody_runs_it_again_until_it_pleases(farm: ControlPlane) -> None:
    wrong = living(farm)[90.0]
    asked = reverify(farm.database, wrong.claim_id, "I do not believe it", ADA)
    farm.plan()
    complete(farm, 100)
    assert outcome_of(farm, asked.claim_id) == "mismatch"
    with pytest.raises(InterventionError, match="its verdict stands; policy allows the next"):
        reverify(farm.database, asked.claim_id, "once more", ADA)
    assert reverify(farm.database, asked.claim_id, "once more", ADA, rules=AT_ONCE).claim_id != asked.claim_id


@pytest.mark.parametrize("came_to", ["unsupported", "failed"])
def test_what_found_nothing_out_is_asked_for_again_as_soon_as_it_is_mended(farm: ControlPlane, came_to: str) -> None:
    asked = reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA).claim_id
    if came_to == "unsupported":
        # No fraction is 50.
        replace(farm, policy=Policy.model_validate({"verification": {"scale": "fraction"}})).plan()
    else:
        farm.plan()
        end_all(farm)
    assert outcome_of(farm, asked) == came_to
    again = ask(farm, asked)
    *_, fresh = farm.reproductions()
    assert run_of(farm, again) == fresh.reproduction_id
    assert (fresh.asked_anew, fresh.stopping is None) == (True, False), "nobody had seen a score"
    complete(farm, 100)
    with pytest.raises(InterventionError, match="its verdict stands; policy allows the next"):
        reverify(farm.database, again, "once more", ADA)


@pytest.mark.parametrize("first", ["main", "refs/pr/7"])
@pytest.mark.parametrize("then", ["main", "refs/pr/8"])
def test_a_score_waits_as_an_entry_does_but_the_authors_for_no_passer_by(
    farm: ControlPlane, first: str, then: str
) -> None:
    asked = put(farm, living(farm)[50.0], first)
    asked = reverify(farm.database, asked, "?", ADA).claim_id
    farm.plan()
    complete(farm, 20)
    with farm.database.reading() as session:
        other = put(farm, session.get_one(Claim, asked), then)
    assert outcome_of(farm, other) == "mismatch", "by the run that there is"
    with farm.database.transaction() as session:
        session.execute(update(Claim).where(Claim.claim_id == other).values(stale_since=now(), stale_reason="engine"))
    if (first, then) == ("refs/pr/7", "main"):
        assert reverify(farm.database, other, "once more", ADA).claim_id != other
        return
    with pytest.raises(InterventionError, match="its verdict stands; policy allows the next"):
        reverify(farm.database, other, "once more", ADA)
    assert repeat_stale(farm.database, ReverifyRules(on_change=True)) == 0
    assert repeat_stale(farm.database, ReverifyRules(on_change=True, cooldown_seconds=0)) == 1
    assert len(farm.reproductions()) == 2


@pytest.mark.parametrize("where", ["main", "refs/pr/7"])
def test_values_a_billionth_apart_have_one_draw_and_one_of_every_sample(farm: ControlPlane, where: str) -> None:
    """But the author's entry has its own, whatever was asked on a pull request."""
    others = [put(farm, living(farm)[50.0], where, 50 + each * 1e-9) for each in range(1, 5)]
    asked = [ask(farm, each) for each in others[:2]]
    _, fresh, second = farm.reproductions()
    assert [run_of(farm, each) for each in asked] == [fresh.reproduction_id, second.reproduction_id]
    assert [run.stopping is None for run in (fresh, second)] == [False, True], "the second asks every sample"
    assert run_of(farm, ask(farm, others[2])) == second.reproduction_id
    complete(farm, 100)
    assert outcome_of(farm, ask(farm, others[3])) == "verified"
    assert len(farm.reproductions()) == 3
    authors = run_of(farm, ask(farm, living(farm)[50.0].claim_id))
    *_, last = farm.reproductions()
    assert authors == last.reproduction_id
    assert (last.reproduction_id == second.reproduction_id) == (where == "main")
    assert (last.stopping is None) == (where == "main"), "the first of those that were asked for on main"


@pytest.mark.parametrize("how", ["another is sent out meanwhile", "the weights change and change back"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_request_that_is_planned_after_another_was_sent_out_shares_what_was_run(
    farm: ControlPlane, how: str, whole: bool
) -> None:
    other = put(farm, living(farm)[50.0], "main", 50 + 1e-9)
    reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA)
    with farm.database.reading() as session:
        weights = session.get_one(Model, "tiny/model").weights_sha256

    def change(what: type[Claim] | type[Model], **values: Any) -> None:
        with farm.database.transaction() as session:
            name = Claim.claim_id == other if what is Claim else Model.model_id == "tiny/model"
            session.execute(update(what).where(name).values(**values))

    if how == "another is sent out meanwhile":
        other = reverify(farm.database, other, "?", ADA).claim_id
        change(Claim, recheck_at=now() + timedelta(days=1))
    farm.plan()
    dispatch(farm.database, farm.policy)
    if whole:
        complete(farm, 100)
    if how == "the weights change and change back":
        change(Model, weights_sha256="f" * 64)
        other = reverify(farm.database, other, "?", ADA).claim_id
        change(Model, weights_sha256=weights)
    change(Claim, recheck_at=None)
    farm.plan()
    if not whole:
        dispatch(farm.database, farm.policy)
        with farm.database.reading() as session:
            foreseen = session.get_one(Claim, other).foreseen
        assert foreseen is not None
        assert foreseen["every_sample"]
        assert farm.reproductions()[-1].stopping is None, "it asks every sample, and is the last draw"
        complete(farm, 100)
    assert outcome_of(farm, other) == "verified"
    assert run_of(farm, other) == farm.reproductions()[-1].reproduction_id
    assert len(farm.reproductions()) == (2 if whole else 3)


@pytest.mark.parametrize("ended", ["failed", "was cancelled"])
def test_a_fresh_run_that_failed_is_no_draw_and_one_that_was_cancelled_is(farm: ControlPlane, ended: str) -> None:
    other = put(farm, living(farm)[50.0], "main", 50 + 1e-9)
    ask(farm, living(farm)[50.0].claim_id)
    *_, run = farm.reproductions()
    if ended == "failed":
        with farm.database.transaction() as session:
            held = session.get_one(Reproduction, run.reproduction_id)
            end_attempt(session, farm.policy, held, AttemptOutcome.MODEL_FAILED, "no such architecture")
    else:
        cancel(farm.database, run.reproduction_id, "it goes badly", ADA)
    assert run_of(farm, ask(farm, other)) == farm.reproductions()[-1].reproduction_id
    *_, again = farm.reproductions()
    assert again.reproduction_id != run.reproduction_id
    assert (again.asked_anew, again.stopping is None) == (True, ended != "failed")


@ON_BOTH
@pytest.mark.parametrize("ended", ["failed", "was cancelled"])
@pytest.mark.parametrize("made_for", ["a request", "an entry that a request joins"])
def test_a_second_fresh_run_asks_every_sample_and_is_the_last_word_whatever_becomes_of_the_first(
    farm: ControlPlane, ended: str, made_for: str
) -> None:
    other = put(farm, living(farm)[50.0], "main", 50.1)
    asked = ask(farm, living(farm)[50.0].claim_id)
    if made_for != "a request":
        put(farm, living(farm)[50.0], "main", 50.2)
    again = reverify(farm.database, other, "?", ADA).claim_id
    farm.plan()
    _, first, second = farm.reproductions()
    assert [run_of(farm, each) for each in (asked, again)] == [first.reproduction_id, second.reproduction_id]
    assert second.seed is None
    if ended == "failed":
        with farm.database.transaction() as session:
            held = session.get_one(Reproduction, first.reproduction_id)
            end_attempt(session, farm.policy, held, AttemptOutcome.MODEL_FAILED, "no such architecture")
    else:
        cancel(farm.database, first.reproduction_id, "it goes badly", ADA)
    dispatch(farm.database, farm.policy)
    late = put(farm, living(farm)[50.0], "main", 50.3)
    assert run_of(farm, late) == second.reproduction_id, "and not the run from before the request"
    assert farm.reproductions()[-1].stopping is None
    complete(farm, 20)
    assert [outcome_of(farm, each) for each in (again, late)] == ["mismatch", "mismatch"]


def test_after_the_cooldown_a_fresh_run_is_made_whoever_shared_the_one_before(farm: ControlPlane) -> None:
    other = put(farm, living(farm)[50.0], "main", 50 + 1e-9)
    first = ask(farm, living(farm)[50.0].claim_id)
    run_id = complete(farm, 100)
    shares = repeat(farm.database, other).claim_id
    farm.plan()
    assert [run_of(farm, each) for each in (first, shares)] == [run_id, run_id]
    with farm.database.transaction() as session:
        session.get_one(Claim, first).fresh_after = now() - timedelta(hours=25)
        session.get_one(Reproduction, run_id).created_at = now() - timedelta(hours=25)
        session.get_one(Claim, shares).fresh_after = now() - timedelta(hours=15)
    again = ask(farm, first)
    *_, fresh = farm.reproductions()
    assert run_of(farm, again) == fresh.reproduction_id != run_id
    assert (fresh.asked_anew, fresh.stopping is None) == (True, False)


@ON_BOTH
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("why", "rules"),
    [
        ("its age", ReverifyRules(after_days=0.1, at_once=1)),
        (f"{READ_AS}percent", ReverifyRules(on_change=True, at_once=1)),
    ],
    ids=["its age", "its scale"],
)
def test_the_run_that_gave_the_verdict_is_no_fresh_one(
    farm: ControlPlane, why: str, rules: ReverifyRules, shared: bool
) -> None:
    """Also where the claim was asked anew itself, and its run, which it shares, was made much later."""
    asked = reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA).claim_id
    other = put(farm, living(farm)[50.0], "main", 50.5)
    if shared:
        other = reverify(farm.database, other, "?", ADA).claim_id
    farm.plan()
    run_id = complete(farm, 100)
    if not shared:
        other = put(farm, living(farm)[50.0], "main", 51.2)
    assert [run_of(farm, each) for each in (asked, other)] == [run_id, run_id]
    with farm.database.transaction() as session:
        for claim_id, since in ((other, 2), (living(farm)[90.0].claim_id, 1)):
            held = session.get_one(Claim, claim_id)
            held.stale_since, held.stale_reason = now() - timedelta(hours=since), why
            signed_at = now() - timedelta(hours=3)
            session.add(Badge(claim_id=claim_id, badge_id=claim_id, token="t", key_id="k", signed_at=signed_at))
        held = session.get_one(Claim, other)
        if shared:
            held.fresh_after = now() - timedelta(hours=24.5)
            session.get_one(Claim, asked).fresh_after = now() - timedelta(hours=22.5)
            session.execute(update(Reproduction).values(created_at=now() - timedelta(hours=30)))
            session.get_one(Reproduction, run_id).created_at = now() - timedelta(hours=4.5)
            until = now() + timedelta(hours=1.5)
        else:
            first = session.get_one(Claim, asked).fresh_after
            assert first is not None
            until = first + timedelta(days=1)
    with pytest.raises(InterventionError, match=f"answer it again.* policy allows the next from {until:%Y-%m-%d}"):
        reverify(farm.database, other, "?", ADA)
    assert repeat_stale(farm.database, rules) == 1, "it takes nobody's place"
    with farm.database.transaction() as session:
        session.get_one(Claim, asked).fresh_after = now() - timedelta(hours=24.1)
    assert run_of(farm, ask(farm, other)) == farm.reproductions()[-1].reproduction_id != run_id


@ON_BOTH
@pytest.mark.parametrize("asks", ["somebody", "the farm"])
def test_a_run_on_an_engine_that_is_too_old_now_answers_nothing_that_is_asked_anew(
    farm: ControlPlane, asks: str
) -> None:
    others = [put(farm, living(farm)[50.0], "main", 50 + each * 1e-9) for each in (1, 2)]
    ask(farm, living(farm)[50.0].claim_id)
    outdated = complete(farm, 100)
    others.append(put(farm, living(farm)[50.0], "main", 51.2))
    assert run_of(farm, others[-1]) == outdated
    rules = ReverifyRules(minimum_versions={"vllm": "0.33"}, on_change=True)
    farm = replace(farm, policy=farm.policy.model_copy(update={"reverify": rules}))
    if asks == "somebody":
        anew = [reverify(farm.database, each, "a new engine", ADA, rules=rules).claim_id for each in others]
    else:
        with farm.database.transaction() as session:
            session.execute(
                update(Claim).where(Claim.claim_id.in_(others)).values(stale_since=now(), stale_reason="old")
            )
        assert repeat_stale(farm.database, rules) == len(others)
        anew = [claim.claim_id for claim in farm.claims() if claim.live and claim.supersedes in others]
    with farm.database.transaction() as session:
        # One had been asked for before that run was made, and waited for something.
        session.get_one(Claim, anew[0]).fresh_after = now() - timedelta(hours=1)
    farm.plan()
    *_, fresh = farm.reproductions()
    assert {run_of(farm, each) for each in anew} == {fresh.reproduction_id}
    assert (fresh.reproduction_id != outdated, fresh.asked_anew) == (True, True)
    assert complete(farm, 100, circumstances={"versions": {"vllm": "0.33.1"}}) == fresh.reproduction_id
    late = put(farm, living(farm)[50.0], "main", 49.9)
    with pytest.raises(InterventionError, match="would answer it again"):
        reverify(farm.database, late, "?", ADA, rules=rules)
    assert len(farm.reproductions()) == 3


def ask(farm: ControlPlane, claim_id: str) -> str:
    """Have it verified again, planned and sent out; the new claim's id."""
    asked = reverify(farm.database, claim_id, "?", ADA).claim_id
    farm.plan()
    dispatch(farm.database, farm.policy)
    return asked


def run_of(farm: ControlPlane, claim_id: str) -> str | None:
    with farm.database.reading() as session:
        return session.get_one(Claim, claim_id).reproduction_id


def put(farm: ControlPlane, claim: Claim, ref: str, value: float | None = None) -> str:
    """Have another entry say what a claim says, or another value; its id, once it is planned."""
    number = None if ref == "main" else int(ref[-1])
    with farm.database.transaction() as session:
        said = {"value": claim.value if value is None else value}
        other = _copy(claim, f"after {claim.claim_id} {value}", ref=ref, pull_request=number, **said)
        session.add(other)
        session.flush()
        claim_id = other.claim_id
    farm.plan()
    return claim_id


@ON_BOTH
def test_the_command_asks_under_the_users_name_by_policys_rules(
    farm: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.yaml").write_text("reverify: {cooldown_seconds: 0}")
    monkeypatch.setenv("REPROFARM_DATABASE_URL", farm.database.url)
    monkeypatch.setenv("LOGNAME", "eve")
    first = reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA)
    farm.plan()
    complete(farm, 100)
    asked = ["reverify", first.claim_id[:10], "--why", "weights were repaired"]
    told = CliRunner().invoke(app, asked)
    assert (told.exit_code, "policy allows the next from" in told.output) == (3, True), told.output
    monkeypatch.setenv("REPROFARM_POLICY", str(tmp_path / "policy.yaml"))
    told = CliRunner().invoke(app, asked)
    assert (told.exit_code, "which a fresh run decides" in told.output) == (0, True), told.output
    with farm.database.reading() as session:
        assert operator() in session.scalars(select(Event.actor)).all()


@ON_BOTH
def test_on_a_benchmark_that_is_not_listed_now_every_verdict_stays(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(stale_since=now(), stale_reason="the model's files changed since"))
        session.execute(update(Benchmark).values(unlisted_at=now()))
    rules = ReverifyRules(on_change=True, cooldown_seconds=0)
    assert repeat_stale(farm.database, rules) == 0
    for claim in living(farm).values():
        with pytest.raises(InterventionError, match="acme/bench is not among the benchmarks"):
            reverify(farm.database, claim.claim_id, "?", ADA, rules=rules)
    assert {claim.state for claim in living(farm).values()} == {ClaimState.DECIDED}
    with farm.database.transaction() as session:
        session.execute(update(Benchmark).values(unlisted_at=None))
    assert repeat_stale(farm.database, rules) == 2


@ON_BOTH
def test_claims_on_a_benchmark_that_is_not_listed_now_take_no_others_place(rows: Rows) -> None:
    for dataset_id in ("acme/unlisted", "acme/listed"):
        rows.benchmark(dataset_id)
        changed = "the model's files changed since"
        rows.claim(dataset_id=dataset_id, state=ClaimState.DECIDED, stale_since=now(), stale_reason=changed)
    with rows.database.transaction() as session:
        session.get_one(Benchmark, "acme/unlisted").unlisted_at = now()
    assert repeat_stale(rows.database, ReverifyRules(on_change=True, at_once=1)) == 1
    with rows.database.reading() as session:
        assert session.scalars(select(Claim.dataset_id).where(Claim.supersedes.is_not(None))).all() == ["acme/listed"]


def test_new_weights_are_another_thing_to_measure(farm: ControlPlane) -> None:
    asked = reverify(farm.database, living(farm)[90.0].claim_id, "?", ADA)
    farm.plan()
    complete(farm, 100)
    with farm.database.transaction() as session:
        session.get_one(Model, "tiny/model").weights_sha256 = "f" * 64
    assert reverify(farm.database, asked.claim_id, "new weights", ADA)


def test_what_is_withdrawn_waits_for_an_operator_or_cannot_be_read_is_not_verified_again(farm: ControlPlane) -> None:
    old = living(farm)[50.0]
    asked = reverify(farm.database, old.claim_id, "?", ADA)
    with pytest.raises(InterventionError, match=f"its entry is claim {asked.claim_id} now"):
        reverify(farm.database, old.claim_id, "?", ADA)
    farm.plan()
    cancel(farm.database, asked.claim_id, "too dear", "operator:eve")
    with pytest.raises(InterventionError, match="was cancelled and is not tried again by itself: cancelled by the"):
        reverify(farm.database, asked.claim_id, "?", ADA)
    for target, said in (("abc", "at least"), ("nothing-like-it", "no claim has")):
        with pytest.raises(InterventionError, match=said):
            reverify(farm.database, target, "?", ADA)
    submit(farm.served.local, add_model(farm.served.local, "tiny/other"), "- value: 3\n")
    farm.scan(farm.policy.watch.model_copy(update={"models": ("tiny/other",)}))
    rejected = [claim for claim in farm.claims() if claim.state == ClaimState.REJECTED]
    with pytest.raises(InterventionError, match="cannot be read"):
        reverify(farm.database, rejected[0].claim_id, "?", ADA)


def test_a_re_verification_that_failed_is_tried_again_as_fresh_as_it_was_asked_for(farm: ControlPlane) -> None:
    asked = reverify(farm.database, living(farm)[50.0].claim_id, "?", ADA)
    farm.plan()
    dispatch(farm.database, farm.policy)
    with farm.database.transaction() as session:
        run = session.get_one(Reproduction, farm.reproductions()[-1].reproduction_id)
        end_attempt(session, farm.policy, run, AttemptOutcome.MODEL_FAILED, "no such architecture")
    retry(farm.database, asked.claim_id, "repaired", "operator:eve")
    farm.plan()
    assert (len(farm.reproductions()), farm.reproductions()[-1].state) == (3, ReproductionState.QUEUED)
    assert living(farm)[50.0].supersedes == asked.claim_id


def test_what_was_asked_for_goes_first_and_what_the_farm_repeats_by_itself_last(tmp_path: Path) -> None:
    assert REQUESTED_PRIORITY < AUTHOR_PRIORITY < COMMUNITY_PRIORITY < PERIODIC_PRIORITY
    with control_plane(tmp_path, SQLITE) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench")
        for name in ("periodic", "requested"):
            submit(hub, add_model(hub, f"tiny/{name}", name.encode()), entry("acme/bench", 50))
        plane.scan()
        plane.plan()
        end_all(plane)
        claims = {claim.model_id: claim.claim_id for claim in plane.claims()}
        repeat(plane.database, claims["tiny/periodic"])
        submit(hub, add_model(hub, "tiny/community", b"c"), entry("acme/bench", 50), author="fan", create_pr=True)
        submit(hub, add_model(hub, "tiny/author", b"a"), entry("acme/bench", 50))
        plane.scan(plane.policy.watch.model_copy(update={"models": ("tiny/community", "tiny/author")}))
        reverify(plane.database, claims["tiny/requested"], "please", ADA)
        plane.plan()
        assert end_all(plane) == {"tiny/requested", "tiny/author"}, "as many as a pool's queue holds"
        assert end_all(plane) == {"tiny/community", "tiny/periodic"}


def end_all(farm: ControlPlane) -> set[str]:
    """Send out what goes next and have it fail; the models."""
    dispatch(farm.database, farm.policy)
    with farm.database.transaction() as session:
        sent = session.scalars(select(Reproduction).where(Reproduction.state == ReproductionState.DISPATCHED)).all()
        for run in sent:
            end_attempt(session, farm.policy, run, AttemptOutcome.MODEL_FAILED, "no such architecture")
        return {run.model_id for run in sent}
