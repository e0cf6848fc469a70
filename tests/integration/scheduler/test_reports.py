"""What follows from a report: a verdict, a badge, a pull request, another attempt, or nothing.

Claims come from a real local Hub, the reports from a real worker whose engine alone is a stand-in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi
from pydantic import SecretStr
from sqlalchemy import func, select

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler import collecting
from scheduler.badges.rotating import rotate
from scheduler.badges.signing import Signer, public_jwks
from scheduler.badges.signing_off import sign, sign_missing
from scheduler.database.tables import Attempt, Badge, Claim, OutboxRow, Publication, Reproduction, VerdictRow
from scheduler.dispatching import dispatch
from scheduler.farm import Farm
from scheduler.machine import ClaimState, ReproductionState
from scheduler.planning import plan
from scheduler.publish.due import publish_due
from scheduler.record import move_claim
from scheduler.settings import Settings
from scheduler.watch.scan import scan
from specs.attestation import verify
from specs.messages import RUN_BATCH, AttemptOutcome, AttemptsAlive, Progress, Report, RunBatch, Stage
from tests.support.databases import Databases, at_once
from tests.support.echo import ECHO_SPEC
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.shared_runs import shared_runs
from tests.support.worker_bench import run, stand_in
from workers.settings import WorkerSettings
from workers.workbench import open_workbench

BENCHMARK, MODEL = "acme/echo", "tiny/model"
ROWS = [{"question": f"{n}? Say: {n}", "answer": str(n) if n % 4 else "no"} for n in range(40)]
TRUE_PERCENT, INFLATED_PERCENT = 75.0, 97.5


@dataclass(frozen=True)
class World:
    """A farm whose only reproduction was run, and its report, which nobody has taken in yet."""

    folder: Path
    served: RunningHub
    databases: Databases
    report: Report


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with running_hub(folder / "hub") as served:
        hub = served.local
        repo = add_benchmark(hub, BENCHMARK, ECHO_SPEC)
        rows = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
        hub.commit(repo, {"test.jsonl": rows}, CommitText("Add rows", "acme"))
        model = add_model(hub, MODEL)
        submit(hub, model, entry(BENCHMARK, TRUE_PERCENT, task="echo"))
        inflated = entry(BENCHMARK, INFLATED_PERCENT, task="echo")
        submit(hub, model, inflated, author="fan", create_pr=True, name="fan.yaml")
        (folder / "token").write_text(hub.add_token("farm"))
        farm = farm_in(folder, databases.url(folder), served.url)
        farm.database.upgrade()
        Signer.create(farm.settings.signing_key)
        scan(farm.database, farm.hub, farm.policy.watch)
        plan(farm.database, farm.hub, farm.policy)
        dispatch(farm.database, farm.policy)
        report = worked(farm, folder, served.url)
        farm.database.engine.dispose()
        yield World(folder, served, databases, report)


def farm_in(folder: Path, database_url: str, hub_url: str) -> Farm:
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"publish": {"mode": "pull_request"}, "run": {"attempts": 2}}))
    return Farm(
        Settings(
            database_url=database_url,
            hub_endpoint=hub_url,
            hub_token=SecretStr((folder / "token").read_text()),
            evidence_url=f"file://{folder / 'evidence'}",
            signing_key=folder / "keys" / "signing.pem",
            retired_keys=folder / "keys" / "retired",
            policy=policy,
            public_url="https://farm.example",
        )
    )


def worked(farm: Farm, folder: Path, hub_url: str) -> Report:
    """Have a worker run the one batch that was dispatched."""
    with farm.database.reading() as session:
        (row,) = session.scalars(select(OutboxRow).where(OutboxRow.task == RUN_BATCH))
    settings = WorkerSettings(
        pool="cpu",
        hub_endpoint=hub_url,
        evidence_url=farm.settings.evidence_url,
        cache_folder=folder / "cache",
        state_folder=folder / "state",
    )
    bench = open_workbench("worker@test", settings, stand_in(), shared_runs())
    try:
        (report,) = run(bench, RunBatch.decode(row.body)).reports.values()
    finally:
        bench.engines.stop()
        bench.lock.close()
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    return report


@pytest.fixture
def farm(world: World, tmp_path: Path) -> Iterator[Farm]:
    """The farm as it was when the report was on its way."""
    copied = world.databases.copy(world.databases.url(world.folder), tmp_path)
    shutil.copy(world.folder / "token", tmp_path / "token")
    for name in ("evidence", "keys"):
        shutil.copytree(world.folder / name, tmp_path / name)
    found = farm_in(tmp_path, copied, world.served.url)
    yield found
    found.database.engine.dispose()


def take(farm: Farm, report: Report) -> bool:
    return collecting.report(farm.database, farm.policy, farm.settings.evidence_url, report)


def ended(world: World, outcome: AttemptOutcome, detail: str, **more: object) -> Report:
    """What the worker would have said had the attempt ended otherwise."""
    nothing = {"measurement": None, "evidence": None}
    return Report.decode({**world.report.encode(), **nothing, "outcome": outcome, "detail": detail, **more})


def claims(farm: Farm) -> dict[float, Claim]:
    with farm.database.reading() as session:
        found = session.scalars(select(Claim)).all()
        return {claim.value: claim for claim in found if claim.value is not None}


def outcomes(farm: Farm) -> dict[float, str]:
    with farm.database.reading() as session:
        rows = session.execute(select(Claim.value, VerdictRow.outcome).join(VerdictRow)).all()
        return {value: outcome for value, outcome in rows if value is not None}


def reproduction(farm: Farm) -> Reproduction:
    with farm.database.reading() as session:
        return session.scalars(select(Reproduction)).one()


def count(farm: Farm, table: type[Badge | Publication | VerdictRow]) -> int:
    with farm.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_one_reproduction_judges_both_claims(world: World, farm: Farm) -> None:
    take(farm, world.report)
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert reproduction(farm).state == ReproductionState.COMPLETED


def test_the_last_report_of_a_batch_makes_room_for_another(world: World, farm: Farm) -> None:
    assert take(farm, world.report)
    assert not take(farm, world.report), "it came too late to change anything"


def test_while_the_rest_of_a_batch_goes_on_there_is_no_room(world: World, farm: Farm) -> None:
    run = reproduction(farm)
    columns = {column.name: getattr(run, column.name) for column in Reproduction.__table__.columns}
    with farm.database.transaction() as session:
        session.add(Reproduction(**{**columns, "reproduction_id": "0" * 32, "key": "another task's"}))
    assert not take(farm, world.report)


def test_what_is_to_be_tried_again_is_looked_for_at_once(world: World, farm: Farm) -> None:
    assert take(farm, ended(world, AttemptOutcome.HANDED_BACK, "its node is drained"))


def test_a_report_that_is_delivered_twice_changes_nothing(world: World, farm: Farm) -> None:
    take(farm, world.report)
    take(farm, world.report)
    assert count(farm, VerdictRow) == 2


def test_only_the_verified_claim_gets_a_badge_and_only_one(world: World, farm: Farm) -> None:
    take(farm, world.report)
    verified = claims(farm)[TRUE_PERCENT]
    sign(farm, [verified.claim_id])
    sign(farm, [verified.claim_id])
    sign_missing(farm)
    with farm.database.reading() as session:
        badge = session.scalars(select(Badge)).one()
    facts = verify(badge.token, dict(public_jwks(farm.settings)))
    assert world.report.measurement is not None
    assert (facts.model, facts.claimed_value, facts.mode, facts.alpha) == (MODEL, TRUE_PERCENT, "sequential", 0.001)
    assert (facts.samples_used, facts.population) == (len(world.report.measurement.sample_ids), 40)
    assert facts.claimed - facts.tolerance <= facts.interval.low <= facts.reproduced <= facts.interval.high
    assert facts.evidence_url.startswith("https://farm.example/v1/evidence/")


def test_a_rotated_key_signs_the_next_badge_of_a_running_farm(world: World, farm: Farm) -> None:
    take(farm, world.report)
    old = Signer.load(farm.settings.signing_key).key_id
    new = rotate(farm.settings, at_once=True).current
    sign_missing(farm)
    with farm.database.reading() as session:
        badge = session.scalars(select(Badge)).one()
    assert badge.key_id == new != old
    assert verify(badge.token, dict(public_jwks(farm.settings))).model == MODEL


def test_several_control_workers_with_the_same_report_give_one_verdict_and_one_badge(world: World, farm: Farm) -> None:
    at_once(lambda: take(farm, world.report))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}
    assert count(farm, VerdictRow) == 2
    at_once(lambda: sign_missing(farm))
    assert count(farm, Badge) == count(farm, Publication) == 1


def test_the_badge_is_published_once_and_leaves_the_rest_of_the_file_alone(world: World, farm: Farm) -> None:
    take(farm, world.report)
    sign_missing(farm)
    publish_due(farm)
    publish_due(farm)
    with farm.database.reading() as session:
        row = session.scalars(select(Publication)).one()
        token = session.scalars(select(Badge.token)).one()
    assert (row.state, row.due_at) == ("published", None), row.reason
    api = HfApi(endpoint=world.served.url, token=False)
    ours = [each for each in api.get_repo_discussions(MODEL, discussion_type="pull_request") if each.author == "farm"]
    assert [each.num for each in ours] == [row.number]
    published = world.served.local.read_file(
        RepoName(RepoType.MODEL, MODEL), ".eval_results/results.yaml", f"refs/pr/{row.number}"
    )
    assert published.decode() == entry(BENCHMARK, TRUE_PERCENT, task="echo") + f"  verifyToken: {token}\n"


def test_a_claim_that_was_withdrawn_meanwhile_gets_no_badge(world: World, farm: Farm) -> None:
    take(farm, world.report)
    verified = claims(farm)[TRUE_PERCENT]
    with farm.database.transaction() as session:
        move_claim(session, session.get_one(Claim, verified.claim_id), ClaimState.WITHDRAWN, "its author removed it")
    sign_missing(farm)
    sign(farm, [verified.claim_id])
    assert count(farm, Badge) == 0


def test_a_report_about_something_else_than_was_ordered_is_refused_and_run_again(world: World, farm: Farm) -> None:
    other = world.report.encode()
    other["task"] = {**world.report.task.model_dump(), "spec_sha256": "0" * 64}
    take(farm, Report.decode(other))
    assert outcomes(farm) == {}
    again = reproduction(farm)
    assert again.state == ReproductionState.QUEUED
    assert "report refused" in again.reason
    assert "spec" in again.reason


def test_a_report_without_its_evidence_is_refused_and_run_again(world: World, farm: Farm) -> None:
    shutil.rmtree(farm.settings.evidence_url.removeprefix("file://"))
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).state == ReproductionState.QUEUED


def test_a_model_that_cannot_be_loaded_fails_its_claims_in_the_engines_words(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.MODEL_FAILED, "ValueError: no such architecture"))
    assert set(outcomes(farm).values()) == {"failed"}
    assert "no such architecture" in claims(farm)[TRUE_PERCENT].reason


def test_a_benchmark_that_cannot_be_run_makes_its_claims_unsupported(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.SPEC_FAILED, "the dataset has no column `answer`"))
    assert set(outcomes(farm).values()) == {"unsupported"}


def test_a_repo_that_the_hub_refuses_blocks_its_claims_until_somebody_acts(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.NO_ACCESS, "gated, and no token"))
    found = claims(farm)
    assert {claim.state for claim in found.values()} == {ClaimState.BLOCKED}
    assert all("gated" in claim.reason and claim.recheck_at is not None for claim in found.values())


def test_a_hub_that_is_away_costs_no_attempt_and_is_given_the_time_it_asks_for(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.HUB_AWAY, "429", retry_after_seconds=1800.0))
    waiting = reproduction(farm)
    assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
    assert waiting.not_before is not None
    assert (waiting.not_before - waiting.since).total_seconds() > 1700


def again(farm: Farm, report: Report) -> Report:
    """What the worker of the next attempt would say, had it gone the same way."""
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().not_before = None
    dispatch(farm.database, farm.policy)
    ref = {"reproduction_id": report.ref.reproduction_id, "attempt": reproduction(farm).attempt}
    return Report.decode({**report.encode(), "ref": ref})


def last_batch(farm: Farm) -> RunBatch:
    with farm.database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.task == RUN_BATCH).order_by(OutboxRow.created_at))
        return RunBatch.decode(rows.all()[-1].body)


def test_a_busy_device_costs_no_attempt_and_the_reason_names_its_holder(world: World, farm: Farm) -> None:
    busy = ended(world, AttemptOutcome.DEVICE_BUSY, "the device of this worker is not free: in use by pid 7 (python)")
    for _ in range(4):
        take(farm, busy)
        waiting = reproduction(farm)
        assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
        assert "in use by pid 7 (python)" in waiting.reason
        busy = again(farm, busy)


def test_a_full_disk_costs_no_attempt_is_tried_ever_more_seldom_and_names_the_operator(
    world: World, farm: Farm
) -> None:
    full = ended(world, AttemptOutcome.DISK_FULL, "No space left on device")
    waits = []
    for _ in range(4):
        take(farm, full)
        waiting = reproduction(farm)
        assert (waiting.state, waiting.failures) == (ReproductionState.QUEUED, 0)
        assert "the farm's operator must free space for a worker of pool cpu: No space left on device" in waiting.reason
        assert waiting.not_before is not None
        waits.append(round((waiting.not_before - waiting.since).total_seconds()))
        full = again(farm, full)
    assert waits == [10, 20, 40, 80]
    with farm.database.transaction() as session:
        first = session.scalars(select(Attempt).order_by(Attempt.number)).first()
        assert first is not None
        first.dispatched_at -= timedelta(seconds=farm.policy.run.queue_seconds)
    take(farm, full)
    assert set(outcomes(farm).values()) == {"failed"}
    assert "disk_full: so for 604800 s and 5 attempts" in claims(farm)[TRUE_PERCENT].reason


def test_an_engine_out_of_memory_is_tried_once_more_with_less(world: World, farm: Farm) -> None:
    before = last_batch(farm).engine
    short = ended(world, AttemptOutcome.OUT_OF_MEMORY, "CUDA out of memory")
    take(farm, short)
    assert reproduction(farm).state == ReproductionState.QUEUED
    second = again(farm, short)
    less = last_batch(farm).engine
    assert (less.concurrency, less.enforce_eager) == (before.concurrency // 4, True)
    assert less.model_dump(exclude={"concurrency", "enforce_eager"}) == before.model_dump(
        exclude={"concurrency", "enforce_eager"}
    ), "nothing that changes an answer"
    assert outcomes(farm) == {}
    take(farm, second)
    assert reproduction(farm).state == ReproductionState.FAILED
    assert set(outcomes(farm).values()) == {"failed"}
    reason = claims(farm)[TRUE_PERCENT].reason
    assert "a pool of more memory" in reason
    assert "attempt 1 with 32 requests at once, with captured graphs: CUDA out of memory" in reason
    assert "attempt 2 with 8 requests at once, without captured graphs: CUDA out of memory" in reason


def test_what_completes_with_less_memory_is_judged_as_ever(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.OUT_OF_MEMORY, "CUDA out of memory"))
    take(farm, again(farm, world.report))
    assert outcomes(farm) == {TRUE_PERCENT: "verified", INFLATED_PERCENT: "mismatch"}


def test_our_own_failures_are_tried_again_and_end_as_failed(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.ENGINE_FAILED, "the engine died"))
    assert reproduction(farm).state == ReproductionState.QUEUED
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().not_before = None
    dispatch(farm.database, farm.policy)
    second = ended(world, AttemptOutcome.ENGINE_FAILED, "the engine died again").encode()
    second["ref"] = {"reproduction_id": world.report.ref.reproduction_id, "attempt": 2}
    take(farm, Report.decode(second))
    assert reproduction(farm).state == ReproductionState.FAILED
    assert set(outcomes(farm).values()) == {"failed"}


def test_a_report_of_an_earlier_attempt_is_dropped(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.STALLED, "no sample for 900 s"))
    with farm.database.transaction() as session:
        session.scalars(select(Reproduction)).one().not_before = None
    dispatch(farm.database, farm.policy)
    take(farm, world.report)
    assert outcomes(farm) == {}
    assert reproduction(farm).attempt == 2


def test_what_a_worker_says_cannot_act_where_it_is_shown(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.MODEL_FAILED, "no\x1b[2J \u202esuch\x00 layer\n\x1b]0;x\x07last words"))
    with farm.database.reading() as session:
        assert session.scalars(select(Attempt.detail)).one() == "no such layer\nlast words"
    for claim in claims(farm).values():
        assert "no such layer" in claim.reason
        # The engine's last words stay with the attempt: a reason is read in lists.
        assert not any(each in claim.reason for each in ("\x1b", "\u202e", "\x00", "last words"))


def test_no_worker_parks_a_reproduction_for_longer_than_an_hour(world: World, farm: Farm) -> None:
    take(farm, ended(world, AttemptOutcome.HUB_AWAY, "429", retry_after_seconds=1e300))
    waiting = reproduction(farm)
    assert waiting.not_before is not None
    assert (waiting.not_before - waiting.since).total_seconds() <= 3601


FORGERIES: dict[str, dict[str, object]] = {
    "of an attempt that was not sent": {"ref.attempt": 2},
    "of a reproduction that is none": {"ref.reproduction_id": "f" * 32},
    "about another model": {"model.model_id": "evil/model"},
    "about another commit of the model": {"model.revision": "f" * 40},
    "about another spec": {"task.spec_sha256": "f" * 64},
    "about another task": {"task.task_id": "easier"},
    "with another seed": {"measurement.circumstances.seed": 1},
    "with a better score": {"measurement.score": 0.975},
    "with better answers": {"measurement.sample_scores": [1.0] * 40, "measurement.score": 1.0},
    "of a larger dataset": {"measurement.population": 4_000_000},
    "with a log that is not there": {"evidence.sha256": "f" * 64},
    "with a log of another size": {"evidence.size_bytes": 1},
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_no_forged_report_makes_a_badge(world: World, farm: Farm, forgery: dict[str, object]) -> None:
    forged = world.report.encode()
    for path, value in forgery.items():
        *steps, last = path.split(".")
        holder: Any = forged
        for step in steps:
            holder = holder[step]
        holder[last] = value[: len(holder[last])] if isinstance(value, list) else value
    take(farm, Report.decode(forged))
    sign_missing(farm)
    assert outcomes(farm) == {}
    assert count(farm, Badge) == 0


def test_nobody_is_made_to_sign_what_was_not_verified(
    world: World, farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    of_both = [claim.claim_id for claim in claims(farm).values()]
    sign(farm, of_both)
    take(farm, world.report)
    sign(farm, [claims(farm)[INFLATED_PERCENT].claim_id])
    assert "no verified figures" in caplog.text
    assert count(farm, Badge) == 0
    sign(farm, of_both)
    assert count(farm, Badge) == 1, "and it is in nobody's way"


def test_a_forged_heartbeat_costs_an_attempt_and_gives_no_verdict(world: World, farm: Farm) -> None:
    stolen = AttemptsAlive(
        worker="thief@elsewhere",
        batch_id="b",
        pool="cpu",
        progress=(Progress(ref=world.report.ref, stage=Stage.RUNNING, samples_done=40, samples_total=40, score=1.0),),
    )
    assert collecting.alive(farm.database, farm.policy, stolen) == []
    take(farm, world.report)
    assert outcomes(farm) == {}, "the attempt is the thief's now; its lease runs out, and another one is sent"
    assert count(farm, Badge) == 0
