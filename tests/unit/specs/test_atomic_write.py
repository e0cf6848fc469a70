"""Small files are replaced in one step, and what fails leaves nothing behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from specs.processes.atomic_write import write_atomically


@pytest.mark.parametrize(("content", "found"), [("süß\n", "süß\n".encode()), (b"\0\xff", b"\0\xff")])
def test_text_and_bytes_replace_what_was_there(tmp_path: Path, content: str | bytes, found: bytes) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"what was there before")
    write_atomically(file, content)
    assert file.read_bytes() == found
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_what_only_its_owner_may_read_is_written_so(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "key", b"secret", mode=0o600)
        write_atomically(tmp_path / "state", "open")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("key", "state")] == [0o600, 0o644]


def test_where_it_cannot_be_replaced_the_old_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "state.json"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(OSError, match=r"state\.json") as refused:
        write_atomically(folder, "new")
    assert refused.value.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST)
    assert [each.name for each in tmp_path.rglob("*")] == ["state.json", "kept"]
