"""Hints: fetched in the background, one at a time, never at the cost of the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from huggingface_hub import HfApi

from specs.messages import FetchAhead, ModelRef, TaskRef
from tests.support.disks import small_disk
from tests.support.hub_content import add_benchmark, add_model
from tests.support.localhub import RunningHub, running_hub
from tests.support.waiting import PATIENCE_SECONDS, until
from workers.settings import WorkerSettings
from workers.snapshots.fetch import Snapshots
from workers.snapshots.fetch_ahead import AheadFetcher, fetch_ahead


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def settings(hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """Those of a worker, which the process that it starts finds in its environment."""
    # From where the worker was started, and its processes are not.
    monkeypatch.chdir(tmp_path)
    shutil.copy(certifi.where(), "authorities.pem")
    monkeypatch.setenv("SSL_CERT_FILE", "authorities.pem")
    for name, value in {"hub_endpoint": hub.url, "cache_folder": "cache", "state_folder": "state"}.items():
        monkeypatch.setenv(f"REPROFARM_WORKER_{name.upper()}", value)
    return WorkerSettings()


def hint(hub: RunningHub) -> FetchAhead:
    api = HfApi(endpoint=hub.url, token=False)
    model, dataset = add_model(hub.local, "org/model"), add_benchmark(hub.local, "org/bench")
    task = TaskRef(
        dataset_id=dataset.id, revision=str(api.dataset_info(dataset.id).sha), task_id=None, spec_sha256="0" * 64
    )
    revision = str(api.model_info(model.id).sha)
    return FetchAhead(model=ModelRef(model_id=model.id, revision=revision), tasks=(task,))


def complete(settings: WorkerSettings) -> set[str]:
    return {each.name.partition("--")[0] for each in (settings.cache_folder / "complete").glob("*")}


def test_a_hint_is_followed_in_the_background_and_a_run_finds_what_it_needs(
    hub: RunningHub, settings: WorkerSettings
) -> None:
    wanted = hint(hub)
    ahead = AheadFetcher(settings)
    # A fifth of it must stay free, and this machine's own may be fuller than that.
    with small_disk(settings.cache_folder, 2**16, 2**15):
        assert ahead.follow(wanted)
        assert not ahead.follow(wanted), "one at a time"
        # Its process comes behind all others.
        said = (settings.state_folder / "fetch_ahead.log").read_text
        until(lambda: complete(settings) == {"model", "dataset"}, said, 10 * PATIENCE_SECONDS)
        ahead.stop()
        gone = HfApi(endpoint="http://127.0.0.1:9", token=False)
        assert Snapshots(settings.cache_folder, gone, 0).model(wanted.model).is_dir()


def test_a_worker_that_stops_fetches_nothing_more(hub: RunningHub, settings: WorkerSettings) -> None:
    wanted = hint(hub)
    ahead = AheadFetcher(settings)
    ahead.stop()
    assert not ahead.follow(wanted)


def test_nothing_is_fetched_for_which_there_is_no_room(hub: RunningHub, settings: WorkerSettings) -> None:
    fetch_ahead(Snapshots.of(settings, left_free_bytes=2**60), hint(hub))
    assert complete(settings) == set()
    assert list(settings.cache_folder.rglob("*.safetensors")) == []


def test_a_model_that_is_not_there_is_nobodys_trouble(hub: RunningHub, settings: WorkerSettings) -> None:
    gone = ModelRef(model_id="org/gone", revision="0" * 40)
    fetch_ahead(Snapshots.of(settings), hint(hub).model_copy(update={"model": gone}))
    assert complete(settings) == set()
