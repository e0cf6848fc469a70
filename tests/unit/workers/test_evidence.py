from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import fsspec
import pytest

from specs.errors import EvidenceError
from workers.batches.evidence import fetch, patiently, store


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_log_is_stored_once_under_its_digest(tmp_path: Path, scheme: str) -> None:
    log = tmp_path / "some name.eval"
    log.write_bytes(b"the log")
    digest = hashlib.sha256(b"the log").hexdigest()
    url = f"{scheme}://{tmp_path}/evidence"
    evidence = store(log, url)
    assert (evidence.sha256, evidence.size_bytes) == (digest, 7)
    files, root = fsspec.core.url_to_fs(url)
    stored = f"{root}/{digest[:2]}/{digest}.eval"
    assert files.cat_file(stored) == b"the log"
    assert store(log, url) == evidence
    assert [Path(each).name for each in files.find(root)] == [f"{digest}.eval"], "nothing unfinished is left"


def test_a_log_is_on_the_disk_before_it_has_its_name_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = tmp_path / "log.eval", tmp_path / "evidence"
    log.write_bytes(b"the log")
    kept: list[tuple[Path, bool]] = []

    def fsync(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        kept.append((place, any(folder.rglob("*.eval"))))
        # As some network file systems do.
        if place.is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.fsync", fsync)
    evidence = store(log, f"file://{folder}")
    (unfinished, named), *folders = kept
    assert (unfinished.suffix, named) == (".unfinished", False)
    assert folders == [(folder / evidence.sha256[:2], True), (folder, True)]


def test_a_file_that_was_cut_off_is_stored_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.eval"
    log.write_bytes(b"the log")
    evidence = store(log, f"file://{tmp_path}/evidence")
    stored = tmp_path / "evidence" / evidence.sha256[:2] / f"{evidence.sha256}.eval"
    stored.write_bytes(b"the")
    store(log, f"file://{tmp_path}/evidence")
    assert stored.read_bytes() == b"the log"


@pytest.mark.parametrize(
    ("in_its_place", "why"),
    [("a file", "the evidence store cannot be read"), ("nothing", "there is no evidence store at")],
)
def test_a_log_to_go_on_from_is_waited_for_while_its_store_is_away_and_no_longer(
    tmp_path: Path, in_its_place: str, why: str
) -> None:
    log, target, folder = tmp_path / "log.eval", tmp_path / "fetched.eval", tmp_path / "evidence"
    log.write_bytes(b"the log")
    evidence = store(log, f"file://{folder}")
    kept = folder.rename(tmp_path / "kept")
    if in_its_place == "a file":
        folder.write_text("not a folder")
    heard: list[str] = []

    def back(said: str) -> None:
        heard.append(said)
        folder.unlink(missing_ok=True)
        kept.rename(folder)

    def fetch_it() -> None:
        fetch(evidence, f"file://{folder}", target)

    patiently(fetch_it, 60.0, lambda said: None if heard else back(said))
    assert target.read_bytes() == b"the log"
    assert why in heard[0]
    next(folder.rglob("*.eval")).unlink()
    with pytest.raises(EvidenceError, match="not in this worker's evidence store"):
        patiently(fetch_it, 60.0, pytest.fail)
