"""Disks without room: whatever meets one, it is the operator's move and nobody else's fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from deploy.localhub.commits import CommitText
from specs.messages import AttemptOutcome, ModelRef, Report
from specs.policy.generation import GenerationSettings
from tests.support.disks import small_disk
from tests.support.hub_content import add_model
from tests.support.localhub import running_hub
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.worker_bench import MODEL, batch_of, bench, order, remember_snapshot, run, stand_in
from workers.batches.evidence import store
from workers.errors import DiskFull
from workers.runs.generation import resolve
from workers.runs.run_request import RunRequest
from workers.snapshots.fetch import Snapshots


def _report(folder: Path) -> Report:
    snapshot = write_dataset(folder / "say", [{"question": "Say: yes", "answer": "yes"}])
    with bench(folder, write_model(folder / "model"), stand_in(), store_patience_seconds=0) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
        return run(workbench, batch_of(order(task_ref(snapshot)))).reports["r1"]


def test_a_run_whose_log_cannot_be_stored(tmp_path: Path) -> None:
    with small_disk(tmp_path / "evidence", 64, 4) as evidence:
        report = _report(tmp_path)
        left = [each.name for each in evidence.rglob("*") if each.is_file()]
    assert report.outcome is AttemptOutcome.DISK_FULL, report.detail
    assert left == ["ballast"], "nothing unfinished stays on a full disk"


def test_a_run_that_cannot_write_down_what_became_of_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state" / "runs", 64, 16):
        report = _report(tmp_path)
    assert report.outcome is AttemptOutcome.DISK_FULL, report.detail


def test_a_dataset_that_does_not_fit_as_it_is_read_is_not_its_authors_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.runs import runner  # noqa: PLC0415 - lighteval and torch, which no other process of the tests needs

    rows = [{"question": f"{number} {'?' * 1000}", "answer": "x"} for number in range(2000)]
    dataset = write_dataset(tmp_path / "dataset", rows)
    settings = resolve(GenerationSettings(), None, {}, 5, None)
    request = RunRequest(
        order=order(task_ref(dataset)),
        model=MODEL,
        base_url="http://127.0.0.1:9/v1",
        seconds_left=3600.0,
        concurrency=1,
        dataset_folder=str(dataset),
        model_folder=str(write_model(tmp_path / "model")),
        generation=settings,
        defaults=settings,
        context_tokens=None,
        max_dataset_rows=10_000,
        max_cell_bytes=10_000,
        hardware="CPU",
        engine_arguments=(),
        batch_invariant=False,
        chat_template_sha256=None,
        earlier=None,
    )
    with small_disk(tmp_path / "cache", 1024, 512) as cache:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
        outcome = runner.run(request, tmp_path)
    assert outcome.outcome is AttemptOutcome.DISK_FULL, outcome.detail
    assert "cache folder is full" in outcome.detail


def test_a_model_that_does_not_fit_into_the_cache_while_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub(tmp_path / "hub") as hub, small_disk(tmp_path / "cache", 1024, 256):
        repo = add_model(hub.local, "org/model")
        hub.local.commit(repo, {"tokenizer.json": bytes(2**20)}, CommitText("Add files", "org"))
        api = HfApi(endpoint=hub.url, token=False)
        ref = ModelRef(model_id="org/model", revision=str(api.model_info("org/model").sha))
        # Somebody else fills the disk after the look at what is free.
        monkeypatch.setattr("workers.snapshots.fetch._check_room", lambda *_: None)
        with pytest.raises(DiskFull, match="cache folder is full"):
            Snapshots(tmp_path / "cache", api, 2**20).model(ref)


def test_a_log_that_does_not_fit_is_taken_away_again(tmp_path: Path) -> None:
    log = tmp_path / "log.eval"
    log.write_bytes(bytes(2**16))
    with small_disk(tmp_path / "evidence", 64, 8) as evidence:
        with pytest.raises(OSError, match="No space left on device"):
            store(log, f"file://{evidence}")
        assert [each.name for each in evidence.rglob("*") if each.is_file()] == ["ballast"]
