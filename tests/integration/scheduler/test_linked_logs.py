"""A claim that links to the log of its run: what it saves, and that it can change no verdict.

Logs are Inspect's own, on a live local Hub; only the scores of our own runs are written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.admission.run_settings import RunSettings
from scheduler.database.tables import Claim, Reproduction, VerdictRow, now
from scheduler.dispatch.dispatcher import dispatch
from scheduler.hub.answers import HubFile
from scheduler.hub.hub import Hub
from scheduler.judging.comparing import judge_claims
from scheduler.judging.history import EarlierRuns, predictors_for
from scheduler.judging.stopping import stopping_of
from scheduler.planning.linked_logs import HUB_PATIENCE, READINGS
from scheduler.record import move_reproduction
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.watch.scan import scan
from specs.errors import SubmissionError
from specs.judging.sample_order import seeded_order
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import Population, stopping_rule, targets_sha256
from specs.judging.verdict import Verdict
from specs.logs.linked_log import LinkedLogReading
from specs.messages import Order
from specs.policy.rules import Policy
from specs.policy.verification import VerificationRules
from tests.support.databases import SQLITE, Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.inspect_logs import inspect_log, with_scores
from tests.support.rows import measurement
from tests.support.scheduler import ControlPlane, control_plane
from tests.support.sent_batches import sent_batches

BENCHMARK, MODEL, LOG = "acme/capitals", "tiny/model", "logs/run.eval"
N = 600
TARGETS = [f"a{number}" for number in range(N)]
# A quarter is right, in no regular pattern.
RIGHT = [float(number) for number in np.random.default_rng(0).permutation([1] * 150 + [0] * 450)]
TRUE_PERCENT, FALSE_PERCENT = 25.0, 75.0


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run that scored as `RIGHT` says."""
    said = [[target if right else "no"] for target, right in zip(TARGETS, RIGHT, strict=True)]
    return inspect_log(tmp_path_factory.mktemp("logs"), TARGETS, said)


@pytest.fixture(autouse=True)
def one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many samples a run takes depends on their order."""
    monkeypatch.setattr("scheduler.judging.stopping.secrets.randbelow", lambda _end: 5)


@contextmanager
def a_farm(folder: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(folder, databases) as plane:
        add_benchmark(plane.served.local, BENCHMARK, rows=N)
        yield plane


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[ControlPlane]:
    """On SQLite; the tests whose queries are the point take `either`."""
    with a_farm(tmp_path, SQLITE) as plane:
        yield plane


@pytest.fixture
def either(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """The same on both kinds of databases."""
    with a_farm(tmp_path, databases) as plane:
        yield plane


def add_log(farm: ControlPlane, log: Path | bytes) -> str:
    """Put a log into the model's repo, under Git LFS as the Hub does; its address as a browser shows it."""
    model = RepoName(RepoType.MODEL, MODEL)
    content = log if isinstance(log, bytes) else log.read_bytes()
    farm.served.local.commit(model, {LOG: content}, CommitText("Add the log", "tiny"))
    return f"{farm.served.url}/{MODEL}/blob/main/{LOG}"


def claim_with(farm: ControlPlane, url: str | None, value: float = TRUE_PERCENT) -> Claim:
    """The one claim, found and planned, that links to `url`."""
    more = f"  source: {{url: '{url}'}}\n" if url else ""
    submit(farm.served.local, RepoName(RepoType.MODEL, MODEL), entry(BENCHMARK, value, more=more))
    farm.scan()
    del farm.served.requests[:]
    farm.plan()
    (claim,) = farm.claims()
    return claim


def reading_of(claim: Claim) -> LinkedLogReading:
    assert claim.state == ClaimState.PLANNED, claim.reason
    return LinkedLogReading.model_validate(claim.linked_log, strict=False)


def refused(claim: Claim) -> str:
    reading = reading_of(claim)
    assert reading.log is None
    return reading.reason


def order_of(farm: ControlPlane) -> Order:
    """What a worker is sent."""
    dispatch(farm.database, farm.policy)
    (batch,) = sent_batches(farm.database)
    (order,) = batch.orders
    return order


def predicted(order: Order) -> int:
    """Predictors in an order."""
    return len(order.stopping.predictors) if order.stopping is not None else 0


def carried_out(farm: ControlPlane, order: Order, targets: list[str]) -> tuple[Verdict, int]:
    """Answer an order as a worker whose model scores as `RIGHT` says; the verdict, and how many samples it took."""
    assert order.stopping is not None
    population = Population(samples=N, epochs=1, targets_sha256=targets_sha256(targets))
    decider = SequentialDecider(stopping_rule(order.stopping, population))
    ids = seeded_order(range(1, N + 1), order.seed)
    for sample in ids:
        if decider.settled:
            break
        decider.feed([RIGHT[sample - 1]])
    counted = tuple(ids[: decider.seen])
    run = measurement().model_copy(
        update={
            "population": N,
            "targets_sha256": population.targets_sha256,
            "sample_ids": counted,
            "sample_scores": tuple(RIGHT[sample - 1] for sample in counted),
        }
    )
    with farm.database.transaction() as session:
        reproduction = session.scalars(select(Reproduction)).one()
        reproduction.measurement = run.model_dump(mode="json")
        for state in (ReproductionState.RUNNING, ReproductionState.COMPLETED):
            move_reproduction(session, reproduction, state, "as scripted")
        (claim,) = reproduction.claims
        judge_claims(session, [claim], reproduction, run, stopping_of(reproduction))
    with farm.database.reading() as session:
        row = session.scalars(select(VerdictRow)).one()
    return Verdict.model_validate(row.verdict, strict=False), len(counted)


def test_a_linked_log_predicts_the_run_and_saves_most_of_it(either: ControlPlane, honest: Path) -> None:
    add_model(either.served.local, MODEL)
    url = add_log(either, honest)
    reading = reading_of(claim_with(either, url))
    assert reading.log is not None, reading.reason
    assert list(reading.log.scores) == RIGHT
    order = order_of(either)
    assert order.stopping is not None
    assert order.stopping.linked is not None
    assert order.stopping.linked.log_sha256 == reading.log.sha256
    (predictor,) = order.stopping.predictors
    assert list(predictor.values) == [RIGHT[sample - 1] for sample in seeded_order(range(1, N + 1), order.seed)]
    verdict, paired = carried_out(either, order, TARGETS)
    assert verdict.outcome == "verified"
    assert paired < 0.4 * N
    assert verdict.comparison is not None
    use = verdict.comparison.linked_log
    assert use is not None
    assert (use.used, use.suspicious, use.differing) == (True, False, 0.0)
    assert use.reason == f"agrees with 100.0% of {paired} samples"
    (claim,) = either.claims()
    assert "suspicious_log" not in either.history(claim.claim_id)


def test_without_a_link_the_same_claim_costs_more(farm: ControlPlane) -> None:
    add_model(farm.served.local, MODEL)
    claim = claim_with(farm, None)
    assert claim.linked_log is None
    order = order_of(farm)
    assert predicted(order) == 0
    verdict, alone = carried_out(farm, order, TARGETS)
    assert verdict.outcome == "verified"
    assert alone > 0.6 * N
    assert verdict.comparison is not None
    assert verdict.comparison.linked_log is None


@pytest.mark.parametrize("value", [TRUE_PERCENT, FALSE_PERCENT])
def test_a_made_up_log_changes_no_verdict_and_is_reported(
    farm: ControlPlane, honest: Path, tmp_path: Path, value: float
) -> None:
    """Right answers on other samples than ours, and just as many as were claimed."""
    add_model(farm.served.local, MODEL)
    right = round(N * value / 100)
    made_up = np.random.default_rng(1).permutation([1.0] * right + [0.0] * (N - right)).tolist()
    url = add_log(farm, with_scores(honest, tmp_path / "made-up.eval", made_up))
    assert reading_of(claim_with(farm, url, value)).log is not None
    order = order_of(farm)
    assert predicted(order) == 1
    verdict, _ = carried_out(farm, order, TARGETS)
    assert verdict.outcome == ("verified" if value == TRUE_PERCENT else "mismatch")
    assert verdict.comparison is not None
    use = verdict.comparison.linked_log
    assert use is not None
    (claim,) = farm.claims()
    assert "suspicious_log" in farm.history(claim.claim_id)
    assert use.suspicious, use
    assert "more than honest runs do: hardly a log of this model" in use.reason


def test_a_log_of_other_targets_guides_no_run(farm: ControlPlane, honest: Path) -> None:
    add_model(farm.served.local, MODEL)
    claim_with(farm, add_log(farm, honest))
    order = order_of(farm)
    verdict, samples = carried_out(farm, order, TARGETS[::-1])
    assert samples > 0.6 * N, "its predictions were not used"
    assert verdict.outcome == "verified"
    assert verdict.comparison is not None
    use = verdict.comparison.linked_log
    assert use is not None
    assert (use.used, use.suspicious, use.compared) == (False, False, 0)
    assert use.reason == "its samples have other targets than those of this run"


def test_a_log_whose_mean_is_not_the_claim_is_refused_in_words(farm: ControlPlane, honest: Path) -> None:
    add_model(farm.served.local, MODEL)
    reason = refused(claim_with(farm, add_log(farm, honest), 26.5))
    assert reason == (
        "its 600 samples score 25.0000% on average, and the claim says 26.5 (percent): "
        "link the log of the claimed run, or claim what it says"
    )
    assert predicted(order_of(farm)) == 0


def test_of_two_linked_logs_that_of_an_authors_claim_predicts(farm: ControlPlane, honest: Path, tmp_path: Path) -> None:
    add_model(farm.served.local, MODEL)
    author = claim_with(farm, add_log(farm, honest))
    claimed = reading_of(author)
    assert claimed.log is not None
    other = claimed.model_copy(update={"log": claimed.log.model_copy(update={"sha256": "0" * 64})})
    stranger = Claim(claim_id="0", pull_request=1, linked_log=other.model_dump(mode="json"))
    with farm.database.transaction() as session:
        reproduction = session.scalars(select(Reproduction)).one()
        reproduction.seed = 5
        settings = RunSettings.model_validate(reproduction.settings, strict=False)
        for claims, sha256 in (([stranger, author], claimed.log.sha256), ([stranger], "0" * 64)):
            _, guide = predictors_for(EarlierRuns(session), reproduction, settings, claims)
            assert guide is not None
            assert guide.log_sha256 == sha256


def test_an_address_elsewhere_is_not_contacted(farm: ControlPlane, tmp_path: Path) -> None:
    add_model(farm.served.local, MODEL)
    with control_plane(tmp_path / "elsewhere") as other:
        url = f"{other.served.url}/{MODEL}/resolve/main/{LOG}"
        assert refused(claim_with(farm, url)) == f"not on the Hub ({farm.served.url}), so not read"
        assert other.served.requests == []
    assert farm.served.requests == []


def test_a_source_that_is_no_log_is_no_linked_log(farm: ControlPlane) -> None:
    add_model(farm.served.local, MODEL)
    assert claim_with(farm, f"{farm.served.url}/{MODEL}/blob/main/README.md").linked_log is None
    assert farm.served.requests == []


def test_policy_can_leave_links_alone(tmp_path: Path, honest: Path) -> None:
    with control_plane(tmp_path, policy=Policy(verification=VerificationRules(linked_logs=False))) as farm:
        add_benchmark(farm.served.local, BENCHMARK, rows=N)
        add_model(farm.served.local, MODEL)
        assert claim_with(farm, add_log(farm, honest)).linked_log is None
        assert farm.served.requests == []


def test_a_link_to_nothing_says_so(farm: ControlPlane) -> None:
    add_model(farm.served.local, MODEL)
    url = f"{farm.served.url}/{MODEL}/blob/main/{LOG}"
    assert refused(claim_with(farm, url)) == f"{MODEL} has no {LOG} at main"


def test_what_is_no_log_says_so(farm: ControlPlane) -> None:
    add_model(farm.served.local, MODEL)
    assert "not a ZIP of Inspect's" in refused(claim_with(farm, add_log(farm, b"not a log")))


def test_a_log_beyond_the_bound_is_not_fetched_whole(
    farm: ControlPlane, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.linked_logs.MAX_FILE_BYTES", 1000)
    add_model(farm.served.local, MODEL)
    assert f"{LOG} is larger than 1000 bytes" in refused(claim_with(farm, add_log(farm, honest)))


def test_a_farm_without_room_for_the_log_runs_the_claim_without_it(
    farm: ControlPlane, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(farm.served.local, MODEL)
    url = add_log(farm, honest)
    submit(
        farm.served.local, RepoName(RepoType.MODEL, MODEL), entry(BENCHMARK, 25, more=f"  source: {{url: '{url}'}}\n")
    )
    farm.scan()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    farm.plan()
    (claim,) = farm.claims()
    assert refused(claim) == "this farm could not keep it: FileNotFoundError; its operator must act"


def test_a_download_ends_when_it_is_late(farm: ControlPlane, tmp_path: Path, honest: Path) -> None:
    add_model(farm.served.local, MODEL)
    add_log(farm, honest)
    with pytest.raises(SubmissionError, match="takes too long to fetch"):
        farm.hub.download_file(HubFile("model", MODEL, "main", LOG), tmp_path / "copy", 2**30, lambda: True)


def test_a_link_opens_nothing_that_only_the_farm_may_read(farm: ControlPlane, honest: Path) -> None:
    hub = farm.served.local
    farm.hub = Hub(farm.served.url, hub.add_token("secretive"), request_seconds=30)
    secret = RepoName(RepoType.MODEL, "secretive/model")
    hub.create_repo(secret, private=True)
    hub.commit(secret, {LOG: honest.read_bytes()}, CommitText("Add the log", "secretive"))
    assert farm.hub.read_file("model", secret.id, "main", LOG, 2**30) == honest.read_bytes()
    add_model(hub, MODEL)
    reason = refused(claim_with(farm, f"{farm.served.url}/{secret.id}/blob/main/{LOG}"))
    assert reason == "not everybody may read secretive/model: put the log into a public repo"


def test_a_hub_that_is_away_is_asked_again_but_not_for_ever(farm: ControlPlane) -> None:
    add_model(farm.served.local, MODEL)
    farm.scan()
    farm.hub, reachable = Hub("http://127.0.0.1:9", None, request_seconds=5), farm.hub
    more = f"  source: {{url: 'http://127.0.0.1:9/{MODEL}/blob/main/{LOG}'}}\n"
    submit(farm.served.local, RepoName(RepoType.MODEL, MODEL), entry(BENCHMARK, TRUE_PERCENT, more=more))
    scan(farm.database, reachable, farm.policy.watch)
    farm.plan()
    (claim,) = farm.claims()
    assert (claim.state, claim.linked_log) == (ClaimState.SUBMITTED, None)
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(since=now() - HUB_PATIENCE, recheck_at=None))
    farm.plan()
    (claim,) = farm.claims()
    assert refused(claim).startswith("the Hub did not hand it out: ")


def two_claims(farm: ControlPlane, url: str) -> dict[str, str]:
    """States, once planned, of a claim that links to a log and one, found later, that links to none; by notes."""
    linked = entry(BENCHMARK, TRUE_PERCENT, more=f"  notes: linked\n  source: {{url: '{url}'}}\n")
    plain = entry(BENCHMARK, TRUE_PERCENT, more="  notes: plain\n")
    model = RepoName(RepoType.MODEL, MODEL)
    submit(farm.served.local, model, linked)
    farm.scan()
    submit(farm.served.local, model, linked + plain)
    farm.scan()
    farm.plan()
    return {str(claim.notes): claim.state for claim in farm.claims()}


def test_a_round_that_read_for_long_enough_leaves_further_logs_to_the_next(
    farm: ControlPlane, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.linked_logs.ROUND_SECONDS", 0)
    add_model(farm.served.local, MODEL)
    states = two_claims(farm, add_log(farm, honest))
    assert states == {"linked": ClaimState.SUBMITTED, "plain": ClaimState.PLANNED}
    monkeypatch.setattr("scheduler.planning.linked_logs.ROUND_SECONDS", 100)
    farm.plan()
    assert {claim.state for claim in farm.claims()} == {ClaimState.PLANNED}


def test_nobody_waits_behind_a_log_but_those_who_link_to_one(
    farm: ControlPlane, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.planning.PLANNED_AT_ONCE", 1)
    add_model(farm.served.local, MODEL)
    states = two_claims(farm, add_log(farm, honest))
    assert states == {"linked": ClaimState.SUBMITTED, "plain": ClaimState.PLANNED}


def test_a_log_that_was_read_is_not_read_again(farm: ControlPlane, honest: Path) -> None:
    add_model(farm.served.local, MODEL)
    claim = claim_with(farm, add_log(farm, honest))
    assert farm.served.requests == [f"GET /{MODEL}/resolve/main/logs/run.eval"]
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(state=ClaimState.SUBMITTED, reproduction_id=None))
    farm.plan()
    assert len(farm.served.requests) == 1
    (again,) = farm.claims()
    assert again.linked_log == claim.linked_log
    assert again.log_readings == 0


def test_a_log_whose_readers_are_lost_is_not_read_for_ever(
    either: ControlPlane, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As if the process were."""

    def killed(*_: object) -> LinkedLogReading:
        raise Killed

    add_model(either.served.local, MODEL)
    url = add_log(either, honest)
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.planning.linked_logs.read_linked_log", killed)
        for _ in range(READINGS):
            with pytest.raises(Killed):
                claim_with(either, url)
        (claim,) = either.claims()
        assert (claim.state, claim.log_readings) == (ClaimState.SUBMITTED, READINGS)
        either.plan()
    (claim,) = either.claims()
    assert claim.state == ClaimState.PLANNED
    assert refused(claim) == f"whoever read it was lost, {READINGS} times; the farm's operator must look"
