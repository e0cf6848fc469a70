"""A drained worker hands its batch back, and the next attempt goes on from there.

One story, told once: a worker is drained in the middle of a batch of two, and another takes both up again.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from inspect_ai.log import EvalSample, read_eval_log

from scheduler.judging.evidence import check_evidence
from specs.errors import EvidenceError
from specs.judging.decision import population_of
from specs.judging.sample_order import seeded_order
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import JudgedClaim, Stopping, stopping_rule
from specs.logs.evidence import path_in_store
from specs.logs.run_log import RunLog
from specs.measurement import Evidence, PartialLog, Resumed
from specs.messages import AttemptOutcome, AttemptRef, Order, Report
from specs.policy.engine import EngineRules
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.stand_in_worker import QUEUE
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in
from tests.support.worker_farm import Farm, queues
from workers.batches.evidence import fetch
from workers.batches.flow_control import first_limit
from workers.batches.handing_back import HandingBack, StopMark
from workers.runs.resuming import RESUMED, Wanted, earlier_attempt

SEED, EPOCHS, N = 5, 2, 80
ORDER: list[int] = seeded_order(range(1, N + 1), SEED)
DONE, AT_ONCE = 12, 4
"""Samples that the first worker's engine answers, the others keep it busy for an hour; and requests at once."""

FAILS = ORDER[3]
SCORES = {number: None if number == FAILS else float(number % 3 > 0) for number in range(1, N + 1)}


def question(number: int) -> str:
    misbehaves = "[fail] " if number == FAILS else "[slow] " if ORDER.index(number) >= DONE else ""
    return f"{misbehaves}Say: {number}"


ROWS = [{"question": question(number), "answer": str(number) if score else "no"} for number, score in SCORES.items()]
STOPPING = Stopping(
    claims=(JudgedClaim(claim_id="c", claimed=0.97, tolerance=0.1),),
    alpha=0.001,
    minimum_samples=20,
    maximum_failed_fraction=0.2,
)
RULES = EngineRules(start_seconds=600.0, concurrency=AT_ONCE)
LOST = Evidence(sha256="ab" * 32, size_bytes=100)


@dataclass(frozen=True)
class Story:
    """What happened."""

    folder: Path
    farm: Farm
    engines_left: list[psutil.Process]
    waiting: int
    """Batches in the pool's queue while the first worker was busy and another batch was sent."""

    unacknowledged: int
    """Messages that Redis would deliver again."""

    def report(self, reproduction_id: str, attempt: int) -> Report:
        ref = AttemptRef(reproduction_id=reproduction_id, attempt=attempt)
        return next(each for each in self.farm.reported if each.ref == ref)

    @property
    def partial(self) -> PartialLog:
        found = self.report("long", 1).partial
        assert found is not None, self.report("long", 1).detail
        return found

    def log(self, evidence: Evidence | None) -> Path:
        assert evidence is not None
        return self.folder / "evidence" / path_in_store(evidence.sha256)

    def asked(self, worker: str) -> Counter[tuple[int, int]]:
        """How often a worker's engine was asked for which sample and epoch of the long one."""
        bodies = [json.loads(line) for line in (self.folder / f"{worker}.asked").read_text().splitlines()]
        said = [(body["messages"][-1]["content"], body["seed"]) for body in bodies]
        numbered = [(int(text.rpartition(" ")[2]), seed) for text, seed in said if "Say: yes" not in text]
        return Counter((number, seed - SEED - (number - 1) * EPOCHS + 1) for number, seed in numbered)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("drained")
    with queues(folder) as farm:
        cache = folder / "cache"
        long, short = (
            write_dataset(folder / "a", ROWS),
            write_dataset(folder / "b", [{"question": "Say: yes", "answer": "yes"}]),
        )
        remember_snapshot(cache, "dataset", "bench/long", long)
        remember_snapshot(cache, "dataset", "bench/short", short)
        orders = (
            order(task_ref(long, dataset_id="bench/long"), "long", epochs=EPOCHS, stopping=STOPPING),
            order(task_ref(short, dataset_id="bench/short"), "short"),
        )
        yield told(folder, farm, orders)


def told(folder: Path, farm: Farm, orders: tuple[Order, Order]) -> Story:
    asked = folder / "first.asked"
    # Celery looks every ten seconds for what Redis is to deliver again; a run takes longer than that to begin.
    engine = "--slow-seconds", "3600", "--record", str(asked)
    # A busy machine takes many times as long as an idle one to close a log.
    patient = {"REPROFARM_WORKER_HAND_BACK_SECONDS": str(PROCESS_PATIENCE_SECONDS)}
    redelivers = {"visibility_timeout": 1}
    farm.start("first", *engine, settings=patient, transport=redelivers, grace_seconds=PROCESS_PATIENCE_SECONDS)
    first = batch_of(*orders, engine=RULES)
    farm.send(first)
    farm.wait(lambda: asked.exists() and asked.read_text().count("\n") == DONE * EPOCHS + first_limit(AT_ONCE))
    farm.send(first.model_copy(update={"batch_id": "another"}))
    heard = len(farm.beats)
    farm.wait(lambda: len(farm.beats) >= heard + 2)
    with redis.Redis.from_url(farm.broker) as client:
        waiting, unacknowledged = farm.waiting(), int(client.hlen("unacked"))
        client.lpop(QUEUE)
    engines = [each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or [])]
    engines = [each for each in engines if "--served-model-name" in each.info["cmdline"]]
    psutil.Process(farm.processes.pids["first"]).send_signal(signal.SIGTERM)

    def both_reported() -> bool:
        # `farm.wait` would see that all workers live, and this one may have ended.
        farm.listen()
        return len(farm.reported) == 2

    until(both_reported, patience_seconds=PROCESS_PATIENCE_SECONDS)
    _, left = psutil.wait_procs(engines, timeout=300)
    farm.processes.stop("first")

    kept = farm.reports()["long"].partial
    resume = Evidence(sha256=kept.sha256, size_bytes=kept.size_bytes) if kept is not None else None
    farm.start("second", "--record", str(folder / "second.asked"))
    again = [
        each.model_copy(
            update={"ref": AttemptRef(reproduction_id=each.ref.reproduction_id, attempt=2), "resume": evidence}
        )
        for each, evidence in zip(orders, (resume, LOST), strict=True)
    ]
    farm.send(batch_of(*again, engine=RULES))
    farm.wait(lambda: {each.ref.attempt for each in farm.reports().values()} == {2})
    return Story(folder, farm, left, waiting, unacknowledged)


def test_a_drained_worker_hands_back_what_it_ran_with_all_that_was_finished(story: Story) -> None:
    report = story.report("long", 1)
    assert (report.outcome, report.worker) == (AttemptOutcome.HANDED_BACK, "first@farm")
    # All epochs of a sample come before the next sample; one of those that were answered failed.
    assert report.detail == f"it was told to stop; {DONE - 1} of {N} samples are kept"
    assert story.partial.answers == (DONE - 1) * EPOCHS
    assert story.engines_left == []


def test_what_waited_behind_it_is_handed_back_too(story: Story) -> None:
    report = story.report("short", 1)
    assert (report.outcome, report.partial) == (AttemptOutcome.HANDED_BACK, None)
    assert report.detail == "it was told to stop; this one waited behind others of its batch"


def answers(log: Path) -> dict[tuple[int, int], EvalSample]:
    return {(int(each.id), each.epoch): each for each in read_eval_log(str(log)).samples or []}


def test_no_finished_answer_is_asked_again_and_a_failed_one_is(story: Story) -> None:
    finished = {key for key, answer in answers(story.log(story.partial)).items() if answer.error is None}
    asked = story.asked("second")
    assert finished == {(number, epoch) for number in ORDER[:DONE] if number != FAILS for epoch in (1, 2)}
    assert finished & set(asked) == set()
    assert {(FAILS, epoch) for epoch in (1, 2)} <= set(asked)
    assert max(asked.values()) == 1
    final = answers(story.log(story.report("long", 2).evidence))
    kept = answers(story.log(story.partial))
    assert {final[key].uuid for key in finished} == {kept[key].uuid for key in finished}


def test_it_measures_what_an_uninterrupted_run_would_have(story: Story) -> None:
    report = story.report("long", 2)
    measured = report.measurement
    assert measured is not None, report.detail
    decider = SequentialDecider(stopping_rule(STOPPING, population_of(measured)))
    decider.feed([SCORES[number] for number in ORDER])
    assert decider.settled
    assert DONE < decider.seen < N
    assert measured.sample_ids == tuple(ORDER[: decider.seen])
    assert measured.sample_scores == tuple(SCORES[number] for number in ORDER[: decider.seen])
    assert measured.resumed is not None
    assert (measured.resumed.sha256, measured.resumed.answers) == (story.partial.sha256, (DONE - 1) * EPOCHS)


def test_the_control_plane_finds_the_evidence_good(story: Story) -> None:
    check_evidence(f"file://{story.folder}/evidence", story.report("long", 2), STOPPING)
    check_evidence(f"file://{story.folder}/evidence", story.report("short", 2), None)


def test_a_report_that_hides_or_makes_up_an_earlier_attempt_is_refused(story: Story) -> None:
    report = story.report("long", 2)
    assert report.measurement is not None
    hidden = report.model_copy(update={"measurement": report.measurement.model_copy(update={"resumed": None})})
    with pytest.raises(EvidenceError, match="earlier attempt that it went on from"):
        check_evidence(f"file://{story.folder}/evidence", hidden, STOPPING)


def test_a_partial_log_that_is_not_in_the_store_has_the_run_start_over_and_say_so(story: Story) -> None:
    report = story.report("short", 2)
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert (report.measurement.score, report.measurement.resumed) == (1.0, None)
    assert report.detail.startswith("started over, ")
    assert "not in this worker's evidence store" in report.detail


def test_a_run_longer_than_the_visibility_timeout_is_delivered_once(story: Story) -> None:
    assert story.unacknowledged == 0, "there is nothing that Redis could deliver again"
    ends = Counter(report.ref for report in story.farm.reported)
    assert set(ends.values()) == {1}


def test_a_busy_worker_takes_nothing_more_from_the_queue(story: Story) -> None:
    assert story.waiting == 1


def test_a_worker_that_was_told_to_stop_begins_nothing(tmp_path: Path) -> None:
    snapshot = write_dataset(tmp_path / "a", ROWS[:1])
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--never-up")) as workbench:
        workbench.stop_mark.set()
        reports = run(workbench, batch_of(order(task_ref(snapshot), "r1"), order(task_ref(snapshot), "r2"))).reports
    assert [report.outcome for report in reports.values()] == [AttemptOutcome.HANDED_BACK] * 2


def test_a_download_that_takes_longer_than_the_grace_time_does_not_keep_the_batch(tmp_path: Path) -> None:
    mark, given_back = StopMark(tmp_path / "stopping"), threading.Event()
    with HandingBack(mark, 0.1).at_the_latest(given_back.set):
        mark.set()
        assert given_back.wait(60)


@pytest.mark.parametrize("fetches", ["its dataset", "its model"])
@pytest.mark.parametrize("told", ["to drop it", "to stop"])
def test_a_download_is_not_waited_for_by_what_is_wanted_no_more(tmp_path: Path, fetches: str, told: str) -> None:
    snapshot = write_dataset(tmp_path / "a", ROWS[:1])
    # A Hub that takes every connection, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as hub:
        endpoint = f"http://127.0.0.1:{hub.getsockname()[1]}"
        with bench(tmp_path, write_model(tmp_path / "model"), stand_in(), hub_endpoint=endpoint) as workbench:
            if fetches == "its model":
                remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
                shutil.rmtree(tmp_path / "model")
            only = order(task_ref(snapshot), "r1")
            batch = batch_of(only)

            taken: list[object] = []

            def tell() -> None:
                taken.append(hub.accept())
                workbench.dropped.mark(batch.batch_id, only.ref) if told == "to drop it" else workbench.stop_mark.set()

            threading.Thread(target=tell, daemon=True).start()
            reports = run(workbench, batch).reports
    said = [(report.outcome, report.detail) for report in reports.values()]
    stopped = (AttemptOutcome.HANDED_BACK, "it was told to stop; no sample was begun")
    assert said == ([] if told == "to drop it" else [stopped])


def metadata_of(story: Story) -> dict[str, Any]:
    with RunLog(story.log(story.partial)) as log:
        return dict(log.header().eval.metadata or {})


def taken_over(story: Story, log: Path | None = None, **changes: Any) -> Resumed:
    """What a run that wants the long one, but for these changes, takes over from a log."""
    targets: dict[int | str, str | list[str]] = {number: ROWS[number - 1]["answer"] for number in ORDER}
    wanted = Wanted(**{"metadata": metadata_of(story), "targets": targets, "epochs": EPOCHS, **changes})
    with tempfile.TemporaryDirectory() as folder:
        return earlier_attempt(log or story.log(story.partial), "ab" * 32, wanted, Path(folder) / "kept").resumed


def test_a_partial_log_of_the_same_measurement_is_gone_on_from(story: Story) -> None:
    found = taken_over(story)
    assert (found.answers, found.samples) == ((DONE - 1) * EPOCHS, DONE - 1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", {"model_id": "org/model", "revision": "f" * 40}, "another revision"),
        ("task", {"dataset_id": "bench/long", "spec_sha256": "f" * 64}, "spec sha256"),
        ("seed", 6, "another seed"),
        ("stopping", None, "another stopping"),
        ("circumstances", {"versions": {"vllm": "0.33.0"}}, "versions"),
        ("circumstances", {"engine_arguments": ["--dtype", "float16"]}, "another engine arguments"),
        ("circumstances", {"hardware": "1 × NVIDIA H100"}, "another hardware"),
    ],
)
def test_a_partial_log_of_something_else_is_not(story: Story, name: str, value: Any, said: str) -> None:
    metadata = metadata_of(story)
    metadata[name] = {**metadata[name], **value} if isinstance(value, dict) else value
    with pytest.raises(EvidenceError, match=said):
        taken_over(story, metadata=metadata)


def test_a_partial_log_of_other_samples_epochs_or_of_a_whole_run_is_not(story: Story) -> None:
    with pytest.raises(EvidenceError, match="another target"):
        taken_over(story, targets=dict.fromkeys(ORDER, "forged"))
    with pytest.raises(EvidenceError, match="none of this run"):
        taken_over(story, targets={9999: "yes"})
    with pytest.raises(EvidenceError, match="number of epochs"):
        taken_over(story, epochs=3)
    with pytest.raises(EvidenceError, match="not of one that was stopped"):
        taken_over(story, story.log(story.report("long", 2).evidence))


def test_a_partial_log_with_one_changed_byte_or_one_too_many_is_not_fetched(story: Story, tmp_path: Path) -> None:
    evidence = Evidence(sha256=story.partial.sha256, size_bytes=story.partial.size_bytes)
    stored = tmp_path / "evidence" / path_in_store(evidence.sha256)
    stored.parent.mkdir(parents=True)
    good = story.log(story.partial).read_bytes()
    for content in (good[:-1] + b"x", good + b"x", good[:-1], b""):
        stored.write_bytes(content)
        with pytest.raises(EvidenceError, match="something else"):
            fetch(evidence, f"file://{tmp_path}/evidence", tmp_path / "fetched")
    shutil.copy(story.log(story.partial), stored)
    fetch(evidence, f"file://{tmp_path}/evidence", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == good
    with pytest.raises(EvidenceError, match="reads"):
        fetch(evidence.model_copy(update={"size_bytes": 2**40}), f"file://{tmp_path}/evidence", tmp_path / "fetched")


def test_a_partial_log_that_is_cut_short_is_not_read(story: Story, tmp_path: Path) -> None:
    cut = tmp_path / "cut.eval"
    cut.write_bytes(story.log(story.partial).read_bytes()[:-200])
    with pytest.raises(EvidenceError, match="not a ZIP"):
        taken_over(story, cut)
    assert RESUMED not in metadata_of(story)
