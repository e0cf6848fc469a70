"""A cache whose disk is full makes room by itself, and of nothing that somebody uses."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Set
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import HfApi, HFCacheInfo, scan_cache_dir
from huggingface_hub.utils._shared_blobs import publish_blob_to_shared_store

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from specs.errors import HubAway
from specs.messages import ModelRef
from tests.support.disks import small_disk
from tests.support.hub_content import add_model
from tests.support.localhub import RunningHub, running_hub
from workers.errors import DiskFull
from workers.snapshots.cache_room import LEFT_SECONDS, PREPARED, make_room, snapshot_name
from workers.snapshots.cache_space import cache_space
from workers.snapshots.fetch import Snapshots
from workers.snapshots.snapshot_uses import SnapshotUses

MIB = 2**20
MODELS = ("org/first", "org/second", "org/third")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def refs(hub: RunningHub) -> list[ModelRef]:
    """Models of one MiB each."""
    found = []
    for name in MODELS:
        repo = add_model(hub.local, name)
        hub.local.commit(repo, {"tokenizer.json": os.urandom(MIB)}, CommitText("Add files", "org"))
        found.append(ModelRef(model_id=name, revision=str(HfApi(endpoint=hub.url, token=False).model_info(name).sha)))
    return found


def changed(hub: RunningHub, ref: ModelRef) -> ModelRef:
    """A new commit of a model, with another config and the same MiB."""
    repo = RepoName(RepoType.MODEL, ref.model_id)
    hub.local.commit(repo, {"config.json": b'{"new": true}'}, CommitText("Change the config", "org"))
    info = HfApi(endpoint=hub.url, token=False).model_info(ref.model_id)
    return ref.model_copy(update={"revision": str(info.sha)})


def snapshots(hub: RunningHub, cache: Path, left_free_bytes: int = 0) -> Snapshots:
    """As another process on the same cache has them."""
    return Snapshots(cache, HfApi(endpoint=hub.url, token=False), 0, left_free_bytes)


def test_what_was_used_longest_ago_gives_way_and_is_fetched_again_when_it_is_wanted(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path
) -> None:
    first, second, third = refs
    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        mine = snapshots(hub, cache)
        one, two = mine.model(first), mine.model(second)
        assert mine.model(first) == one, "used again, and so later than the second"
        assert mine.model(third).is_dir()
        assert (one.is_dir(), two.is_dir()) == (True, False)
        assert mine.model(second) == two
        assert (two / "tokenizer.json").stat().st_size == MIB


def test_a_cache_takes_no_more_than_it_may_of_a_disk_that_is_not_its_own(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path
) -> None:
    first, second, third = refs
    with small_disk(tmp_path / "cache", 20 * 1024, free_kib=20 * 1024) as cache:
        mine = replace(snapshots(hub, cache), size_bytes=2900 * 1024)
        one, two = mine.model(first), mine.model(second)
        assert mine.model(first) == one
        three = mine.model(third)
        assert (one.is_dir(), two.is_dir(), three.is_dir()) == (True, False, True)
        with mine.uses.held():
            assert mine.model(first) == one
            assert mine.model(third) == three
            with pytest.raises(DiskFull, match=r"0\.0 GiB left"):
                mine.model(second)


def test_what_another_commit_has_is_not_fetched_again_and_needs_no_room(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        mine = snapshots(hub, cache)
        one, two = mine.model(refs[0]), mine.model(refs[1])
        file = (one / "tokenizer.json").stat().st_ino
        newer = changed(hub, refs[0])
        assert (mine.model(newer) / "tokenizer.json").stat().st_ino == file
        assert (one.is_dir(), two.is_dir()) == (True, True)
        # Even where room has to be made, and the one that has its files was used longest ago.
        shutil.rmtree(mine.model(newer))
        monkeypatch.setattr("workers.snapshots.fetch.KEPT_FREE_PART", 0.5)
        assert (mine.model(newer) / "tokenizer.json").stat().st_ino == file
        assert (one.is_dir(), two.is_dir()) == (False, False)


def test_a_download_that_broke_off_needs_room_for_what_it_lacks(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = RepoName(RepoType.MODEL, refs[0].model_id)
    hub.local.commit(repo, {"vocab.json": os.urandom(MIB)}, CommitText("Add words", "org"))
    download = HfApi.snapshot_download

    def broken_off(api: HfApi, *arguments: Any, **options: Any) -> str:
        download(api, *arguments, **{**options, "allow_patterns": ["vocab.json"]})
        raise ConnectionError

    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        mine, both = snapshots(hub, cache), changed(hub, refs[0])
        monkeypatch.setattr(HfApi, "snapshot_download", broken_off)
        with pytest.raises(HubAway):
            mine.model(both)
        monkeypatch.setattr(HfApi, "snapshot_download", download)
        assert {each.name for each in mine.model(both).glob("*o*")} >= {"vocab.json", "tokenizer.json"}


def test_what_any_worker_of_the_cache_uses_stays(hub: RunningHub, refs: list[ModelRef], tmp_path: Path) -> None:
    first, second, third = refs
    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        mine, others = snapshots(hub, cache), snapshots(hub, cache)
        with mine.uses.held():
            one, two = mine.model(first), others.model(second)
            others.model(third)
            assert (one.is_dir(), two.is_dir()) == (True, False)
            with others.uses.held():
                others.model(third)
                with pytest.raises(DiskFull, match="nothing more that could give way"):
                    snapshots(hub, cache).model(second)
            assert (one.is_dir(), others.model(third).is_dir()) == (True, True)
        assert snapshots(hub, cache).model(second).is_dir(), "the block is over"


def test_what_is_fetched_ahead_leaves_its_part_of_the_disk_free(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "cache", 4096, 4096) as cache:
        snapshots(hub, cache).model(refs[0])
        ahead = snapshots(hub, cache, left_free_bytes=2 * MIB)
        ahead.model(refs[1])
        with ahead.uses.held():
            ahead.model(refs[1])
            with pytest.raises(DiskFull):
                ahead.model(refs[2])


def cached(
    cache: Path, repo: str, commit: str, used: float | None, kind: str = "model", blob_of: str | None = None
) -> Path:
    """A snapshot of 1,000 bytes as the Hub's client lays it out, used at some time; `blob_of` has the same file."""
    folder = cache / "hub" / f"{kind}s--{repo.replace('/', '--')}"
    blob = folder / "blobs" / f"{blob_of or commit}-blob"
    blob.parent.mkdir(parents=True, exist_ok=True)
    if blob_of is None:
        blob.write_bytes(bytes(1000))
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    os.utime(blob, (5, 5))
    if used is not None:
        file = cache / "in-use" / snapshot_name(kind, repo, commit)
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (used, used))
    return snapshot


A, B, C = "a" * 40, "b" * 40, "c" * 40


def test_no_more_goes_than_must_and_nothing_where_all_would_not_be_enough(tmp_path: Path) -> None:
    oldest, older, newer = (cached(tmp_path, f"org/{n}", A, used=n) for n in (10, 20, 30))
    uses = SnapshotUses(tmp_path / "in-use")
    assert not make_room(tmp_path, uses, 3001)
    assert oldest.is_dir()
    assert make_room(tmp_path, uses, 1500)
    assert [each.is_dir() for each in (oldest, older, newer)] == [False, False, True]


def test_what_an_earlier_version_left_goes_by_the_age_of_its_files(tmp_path: Path) -> None:
    left, used = cached(tmp_path, "org/left", A, used=None), cached(tmp_path, "org/used", A, used=4)
    assert make_room(tmp_path, SnapshotUses(tmp_path / "in-use"), 1000)
    assert (left.is_dir(), used.is_dir()) == (True, False)


def test_one_commit_of_a_repo_goes_and_another_stays(tmp_path: Path) -> None:
    old, new = cached(tmp_path, "org/model", A, used=10), cached(tmp_path, "org/model", B, used=20)
    assert make_room(tmp_path, SnapshotUses(tmp_path / "in-use"), 1000)
    assert (old.is_dir(), new.is_dir()) == (False, True)
    assert (new / "model.safetensors").read_bytes() == bytes(1000)


def in_shared_store(cache: Path, snapshot: Path) -> None:
    """Have the client's store that all repos share hold a snapshot's file, as it does with what came by Xet."""
    hub = cache / "hub"
    blob = (snapshot / "model.safetensors").readlink()
    assert publish_blob_to_shared_store(
        blob_path=str(blob), xet_hash="0" * 64, cache_dir=hub, expected_size=blob.stat().st_size
    )


@pytest.mark.parametrize("in_use", [False, True])
@pytest.mark.parametrize("new_repo", ["org/model", "eve/copy"])
def test_what_two_snapshots_share_counts_only_where_both_go(tmp_path: Path, new_repo: str, in_use: bool) -> None:
    shared = new_repo == "org/model"
    old = cached(tmp_path, "org/model", A, used=10)
    new = cached(tmp_path, new_repo, B, used=20, blob_of=A if shared else None)
    other = cached(tmp_path, "org/other", A, used=30)
    if not shared:
        in_shared_store(tmp_path, old)
        in_shared_store(tmp_path, new)
    uses = SnapshotUses(tmp_path / "in-use")
    with uses.used(snapshot_name("model", new_repo, B)) if in_use else nullcontext():
        assert make_room(tmp_path, uses, 1000)
    assert [each.is_dir() for each in (old, new, other)] == [False, in_use, not in_use]
    files = [each for each in (tmp_path / "hub").rglob("*") if each.is_file() and not each.is_symlink()]
    assert sum(each.stat().st_size == 1000 for each in files) == 1
    assert not in_use or (new / "model.safetensors").read_bytes() == bytes(1000)


def test_a_copy_of_a_repo_with_the_same_commit_stays_where_it_is_used(tmp_path: Path) -> None:
    old, copy = cached(tmp_path, "org/model", A, used=10), cached(tmp_path, "eve/copy", A, used=5)
    uses = SnapshotUses(tmp_path / "in-use")
    with uses.used(snapshot_name("model", "eve/copy", A)):
        assert make_room(tmp_path, uses, 1000)
    assert (old.is_dir(), copy.is_dir()) == (False, True)


@pytest.mark.parametrize("known", [(A,), (A, C)])
def test_what_came_after_the_look_at_the_cache_keeps_what_it_shares_with_what_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: tuple[str, ...]
) -> None:
    for commit in known:
        cached(tmp_path, "org/model", commit, used=10 if commit == A else 30)
    came: list[Path] = []

    def scan(hub: Path) -> HFCacheInfo:
        found = scan_cache_dir(hub)
        if not came:
            came.append(cached(tmp_path, "org/model", B, used=20, blob_of=A))
        return found

    monkeypatch.setattr("workers.snapshots.cache_room.scan_cache_dir", scan)
    assert make_room(tmp_path, SnapshotUses(tmp_path / "in-use"), 1000)
    snapshots_left = {each.name for each in came[0].parent.iterdir()}
    assert snapshots_left == {B, *known} - {A}
    assert all((came[0].parent / each / "model.safetensors").read_bytes() == bytes(1000) for each in snapshots_left)


def test_of_a_repo_to_which_somebody_adds_nothing_gives_way(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, uses = snapshots(hub, tmp_path / "cache"), SnapshotUses(tmp_path / "cache" / "in-use")
    one, two = mine.model(refs[0]), mine.model(refs[1])
    download = HfApi.snapshot_download

    def as_another_makes_room(api: HfApi, *arguments: Any, **options: Any) -> str:
        assert make_room(tmp_path / "cache", uses, MIB)
        assert not make_room(tmp_path / "cache", uses, 1)
        return str(download(api, *arguments, **options))

    monkeypatch.setattr(HfApi, "snapshot_download", as_another_makes_room)
    assert (mine.model(changed(hub, refs[0])) / "tokenizer.json").is_file()
    assert (one.is_dir(), two.is_dir()) == (True, False)


def test_room_is_made_for_what_another_worker_removes_before_the_download_begins(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, uses = snapshots(hub, tmp_path / "cache"), SnapshotUses(tmp_path / "cache" / "in-use")
    one = mine.model(refs[0])
    made_for: list[int] = []
    own = Snapshots._make_room

    def then_another_does(of: Snapshots, needed_bytes: int, wanted: Set[Path]) -> None:
        own(of, needed_bytes, wanted)
        if not made_for:
            assert make_room(tmp_path / "cache", uses, MIB)
        made_for.append(needed_bytes)

    monkeypatch.setattr(Snapshots, "_make_room", then_another_does)
    assert (mine.model(changed(hub, refs[0])) / "tokenizer.json").stat().st_size == MIB
    assert not one.is_dir()
    first, second = made_for
    assert first < MIB < second


def prepared(cache: Path, snapshot: Path) -> Path:
    """What a run makes of a dataset to read it."""
    (snapshot / "test.jsonl").write_text('{"question": "1+1?"}\n' * 100)
    rows = datasets.load_dataset(str(snapshot), split="test", cache_dir=str(cache / PREPARED))
    made = Path(rows.cache_files[0]["filename"])
    assert made.is_relative_to(cache / PREPARED / snapshot.name)
    return made


def test_what_was_made_of_a_dataset_goes_with_it_and_counts(tmp_path: Path) -> None:
    old, new = (cached(tmp_path, f"org/{c}", c, used=n, kind="dataset") for c, n in ((A, 10), (B, 20)))
    first, second = prepared(tmp_path, old), prepared(tmp_path, new)
    # More than there is in its files.
    assert make_room(tmp_path, SnapshotUses(tmp_path / "in-use"), 1000 + first.stat().st_size)
    assert [each.exists() for each in (old, first, new, second)] == [False, False, True, True]


def test_what_was_made_of_a_copy_of_a_dataset_stays(tmp_path: Path) -> None:
    old, copy = (cached(tmp_path, n, A, used=5, kind="dataset") for n in ("org/one", "eve/copy"))
    made = prepared(tmp_path, copy)
    uses = SnapshotUses(tmp_path / "in-use")
    with uses.used(snapshot_name("dataset", "eve/copy", A)):
        assert make_room(tmp_path, uses, 1000)
    assert [each.exists() for each in (old, copy, made)] == [False, True, True]


def test_what_was_made_of_a_dataset_that_is_gone_goes_first(tmp_path: Path) -> None:
    gone = cached(tmp_path, "org/gone", A, used=10, kind="dataset")
    made = prepared(tmp_path, gone)
    size = made.stat().st_size
    shutil.rmtree(gone)
    stays = cached(tmp_path, "org/model", B, used=5)
    uses = SnapshotUses(tmp_path / "in-use")
    with uses.used(snapshot_name("dataset", "org/gone", A)):
        # It came anew after the look at the cache, or the client cannot read its repo.
        assert not make_room(tmp_path, uses, size)
        assert made.exists()
    assert make_room(tmp_path, uses, size)
    assert (made.exists(), stays.is_dir()) == (False, True)


def test_what_killed_downloads_left_goes_first_and_what_is_on_its_way_stays(tmp_path: Path) -> None:
    model = cached(tmp_path, "org/model", A, used=10)
    left, coming = (
        tmp_path / "hub" / f"models--org--{name}" / "blobs" / "e.1f.incomplete" for name in ("model", "new")
    )
    long_ago = time.time() - LEFT_SECONDS - 60
    for file in (left, coming):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(MIB))
        os.utime(file, (long_ago, long_ago))
    uses = SnapshotUses(tmp_path / "in-use")
    with uses.filled("models--org--new"):
        assert make_room(tmp_path, uses, MIB)
    assert (left.exists(), coming.exists(), model.is_dir()) == (False, True, True)
    assert make_room(tmp_path, uses, MIB)
    assert (coming.exists(), model.is_dir()) == (False, True)


def test_what_is_on_its_way_stays_where_locks_hold_nobody_off(tmp_path: Path) -> None:
    cached(tmp_path, "org/model", A, used=10)
    coming = tmp_path / "hub" / "models--org--model" / "blobs" / "e.1f.incomplete"
    coming.write_bytes(os.urandom(MIB))
    minutes_ago = time.time() - LEFT_SECONDS / 2
    os.utime(coming, (minutes_ago, minutes_ago))
    # Whoever writes it has no lock, or one that is not seen here.
    assert not make_room(tmp_path, SnapshotUses(tmp_path / "in-use"), MIB)
    assert coming.exists()


def test_where_what_killed_downloads_left_is_enough_nothing_else_goes(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        mine = snapshots(hub, cache)
        one = mine.model(refs[0])
        left = one.parents[1] / "blobs" / "e.1f.incomplete"
        left.write_bytes(bytes(MIB))
        os.utime(left, (5, 5))
        # More than there is.
        monkeypatch.setattr("workers.snapshots.fetch.KEPT_FREE_PART", 0.9)
        assert mine.model(refs[1]).is_dir()
        assert one.is_dir()


def test_a_full_disk_is_said_to_have_unfinished_downloads_and_when_they_go(
    hub: RunningHub, refs: list[ModelRef], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "cache", 2900, 2900) as cache:
        left = cache / "hub" / "models--org--left" / "blobs" / "e.1f.incomplete"
        left.parent.mkdir(parents=True)
        left.write_bytes(os.urandom(5 * MIB // 2))
        noon = time.time() // 86400 * 86400
        os.utime(left, (noon, noon + 86400 + 43200))
        with pytest.raises(DiskFull, match=r"GiB of unfinished downloads can go from 13:00 UTC on"):
            snapshots(hub, cache).model(refs[0])


def test_there_is_no_room_to_be_made_in_an_empty_cache(tmp_path: Path) -> None:
    uses = SnapshotUses(tmp_path / "in-use")
    assert not make_room(tmp_path, uses, 1)
    cached(tmp_path, "org/model", A, used=10)
    shutil.rmtree(tmp_path / "hub" / "models--org--model")
    assert not make_room(tmp_path, uses, 1)


def test_of_a_disk_that_others_use_too_a_part_stays_free(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 10 * 1024, free_kib=3 * 1024) as disk:
        cache = disk / "cache"
        cache.mkdir()
        assert cache_space(cache, None).free > 2.5 * MIB
        assert 0.5 * MIB < cache_space(cache, 9 * MIB).free < 1.5 * MIB
