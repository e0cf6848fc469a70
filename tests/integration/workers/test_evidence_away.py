"""A finished run whose evidence store is away or full: it is kept, and handed in once the store takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from specs.messages import AttemptOutcome, Report, RunBatch, Stage
from tests.support.bucket import Bucket, running_bucket
from tests.support.disks import small_disk
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.worker_bench import Heard, batch_of, bench, order, remember_snapshot, run, stand_in
from workers.batches.workbench import Workbench


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with running_bucket() as found:
        yield found


@contextmanager
def _working(folder: Path, **settings: object) -> Iterator[tuple[Workbench, RunBatch]]:
    """A worker, and a batch of one short run."""
    snapshot = write_dataset(folder / "say", [{"question": "Say: yes", "answer": "yes"}] * 3)
    with bench(folder, write_model(folder / "model"), stand_in(), **settings) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
        yield workbench, batch_of(order(task_ref(snapshot)))


def _meanwhile(workbench: Workbench, batch: RunBatch, act: Callable[[str], None]) -> Report | None:
    """Run a batch, and act once its worker says that the log waits, given its words; the report, if there is one."""
    heard = Heard()
    runs = threading.Thread(target=run, args=(workbench, batch, heard), daemon=True)
    runs.start()
    until(lambda: _waiting(heard), patience_seconds=PROCESS_PATIENCE_SECONDS)
    assert heard.reports == {}
    act(_waiting(heard))
    runs.join(PROCESS_PATIENCE_SECONDS)
    assert not runs.is_alive()
    return heard.reports.get("r1")


def _waiting(heard: Heard) -> str:
    said = [progress for beat in list(heard.beats) for progress in beat.progress]
    return next((each.log_tail for each in said if each.stage is Stage.STORING and each.log_tail), "")


def test_a_run_is_handed_in_once_its_store_is_back(bucket: Bucket, tmp_path: Path) -> None:
    host, port = bucket.server.get_host_and_port()
    bucket.server.stop()
    again = ThreadedMotoServer(ip_address=host, port=port, verbose=False)

    def back(said: str) -> None:
        assert "its log waits for the evidence store: the evidence store cannot be written: EndpointConn" in said
        again.start()

    try:
        with _working(tmp_path, evidence_url=bucket.url) as (workbench, batch):
            report = _meanwhile(workbench, batch, back)
        assert report is not None
        assert report.outcome is AttemptOutcome.COMPLETED, report.detail
        assert report.evidence is not None
        stored = s3fs.S3FileSystem(skip_instance_cache=True).find(f"{bucket.name}/evidence")
        assert [Path(each).stem for each in stored] == [report.evidence.sha256]
    finally:
        again.stop()


def test_a_run_is_handed_in_once_its_full_store_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "evidence", 1024, 4) as evidence, _working(tmp_path) as (workbench, batch):
        report = _meanwhile(workbench, batch, lambda _: (evidence / "ballast").unlink())
        assert report is not None
        assert report.outcome is AttemptOutcome.COMPLETED, report.detail
        assert len(list(evidence.rglob("*.eval"))) == 1


def test_a_run_that_waits_for_its_store_can_be_dropped(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("not a folder")
    with _working(tmp_path) as (workbench, batch):
        (ref,) = [each.ref for each in batch.orders]
        assert _meanwhile(workbench, batch, lambda _: workbench.dropped.mark(batch.batch_id, ref)) is None


def test_a_worker_that_is_told_to_stop_waits_for_no_store(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("not a folder")
    with _working(tmp_path, hand_back_seconds=4.0) as (workbench, batch):
        report = _meanwhile(workbench, batch, lambda _: workbench.stop_mark.set())
    assert report is not None
    assert report.outcome is AttemptOutcome.HANDED_BACK
    assert report.detail == "it was told to stop; nothing is kept: the run was done, and the evidence store away"


def test_a_store_that_stays_away_is_our_failure_and_says_for_how_long(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("not a folder")
    with _working(tmp_path, store_patience_seconds=1.0) as (workbench, batch):
        report = run(workbench, batch).reports["r1"]
    assert report.outcome is AttemptOutcome.WORKER_FAILED
    assert report.measurement is None
    assert report.detail.startswith("the evidence store cannot be written: ")
    assert report.detail.endswith("; so for 1 s")
