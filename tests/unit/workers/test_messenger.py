"""Heartbeats and reports get through, whatever the broker does."""

from __future__ import annotations

import threading

import pytest

from specs.messages import (
    AttemptOutcome,
    AttemptRef,
    AttemptsAlive,
    Progress,
    Report,
    RunBatch,
    Stage,
    TaskRef,
)
from specs.processes.envelopes import why_unreadable
from tests.support.small_repos import COMMIT
from tests.support.worker_bench import MODEL, batch_of, order
from workers.batches import messenger as module
from workers.batches.messenger import Messenger

TASK = TaskRef(dataset_id="bench/a", revision=COMMIT, task_id="say", spec_sha256="0" * 64)
REF = AttemptRef(reproduction_id="r1", attempt=1)


def _report(reproduction_id: str = "r1") -> Report:
    return Report(
        ref=AttemptRef(reproduction_id=reproduction_id, attempt=1),
        worker="w",
        model=MODEL,
        task=TASK,
        outcome=AttemptOutcome.WORKER_FAILED,
        detail="",
        measurement=None,
        evidence=None,
    )


class Broker:
    """Takes messages, or refuses the first few."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[AttemptsAlive | Report] = []
        self.came = threading.Condition()

    def send(self, message: AttemptsAlive | Report) -> None:
        with self.came:
            if self.refusals:
                self.refusals -= 1
                raise ConnectionError("away")
            self.taken.append(message)
            self.came.notify_all()

    def wait_for(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.taken) >= count, timeout=60)


@pytest.fixture
def batch() -> RunBatch:
    return batch_of(order(TASK, "r1"), order(TASK, "r2"))


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_BACK_OFF_SECONDS", 0.01)


def test_a_change_of_stage_is_told_at_once_and_repeated_with_every_heartbeat(batch: RunBatch) -> None:
    broker = Broker()
    with Messenger(batch, "w", "cpu", broker.send) as messenger:
        messenger.progress(Progress(ref=REF, stage=Stage.FETCHING))
        broker.wait_for(3)
    beat = broker.taken[0]
    assert isinstance(beat, AttemptsAlive)
    assert (beat.worker, beat.batch_id, beat.pool) == ("w", "batch-of-r1", "cpu")
    assert [progress.stage for progress in beat.progress] == [Stage.FETCHING]


def test_reports_keep_their_order_and_outlast_a_broker_that_is_away(batch: RunBatch) -> None:
    broker = Broker(refusals=4)
    with Messenger(batch, "w", "cpu", broker.send) as messenger:
        messenger.report(_report("r1"))
        messenger.report(_report("r2"))
    assert [message.ref.reproduction_id for message in broker.taken if isinstance(message, Report)] == ["r1", "r2"]


def test_a_broker_that_is_away_does_not_hold_up_the_run(batch: RunBatch) -> None:
    answered = threading.Event()

    def never_answers(_: AttemptsAlive | Report) -> None:
        answered.wait()

    messenger = Messenger(batch, "w", "cpu", never_answers)
    with messenger:
        for done in range(1000):
            messenger.progress(Progress(ref=REF, stage=Stage.RUNNING, samples_done=done))
        answered.set()


def test_nothing_more_is_said_of_an_attempt_that_was_reported_or_forgotten(batch: RunBatch) -> None:
    broker = Broker()
    with Messenger(batch, "w", "cpu", broker.send) as messenger:
        messenger.progress(Progress(ref=REF, stage=Stage.RUNNING))
        other = AttemptRef(reproduction_id="r2", attempt=1)
        messenger.progress(Progress(ref=other, stage=Stage.WAITING))
        broker.wait_for(1)
        messenger.report(_report("r1"))
        messenger.forget(other)
        with broker.came:
            said = len(broker.taken)
        broker.wait_for(said)
    later = broker.taken[[isinstance(each, Report) for each in broker.taken].index(True) + 1 :]
    assert not [each for each in later if isinstance(each, AttemptsAlive) and REF in [p.ref for p in each.progress]]


def test_a_heartbeat_too_large_to_be_read_goes_without_the_engines_words(batch: RunBatch) -> None:
    broker = Broker()
    with Messenger(batch, "w", "cpu", broker.send) as messenger:
        for number in range(4000):
            ref = AttemptRef(reproduction_id=f"r{number}", attempt=1)
            messenger.progress(Progress(ref=ref, stage=Stage.RUNNING, log_tail="x" * 2000))
        with broker.came:
            assert broker.came.wait_for(lambda: said_of(broker) == 4000, timeout=60)
    beat = broker.taken[-1]
    assert why_unreadable(beat.encode(), "control") is None
    assert isinstance(beat, AttemptsAlive)
    assert {each.log_tail for each in beat.progress} == {None}


def said_of(broker: Broker) -> int:
    """Attempts of which the latest heartbeat speaks."""
    last = broker.taken[-1] if broker.taken else None
    return len(last.progress) if isinstance(last, AttemptsAlive) else 0
