"""What vLLM compiled is kept within bounds."""

from __future__ import annotations

import os
from pathlib import Path

from workers.engines.compiled import make_room


def compiled(cache: Path, name: str, *, used: int, size: int = 100) -> Path:
    folder = cache / "torch_compile_cache" / name
    (folder / "inductor_cache").mkdir(parents=True)
    file = folder / "inductor_cache" / "kernel.so"
    file.write_bytes(b"x" * size)
    os.utime(file, (used, used))
    return folder


def test_what_was_used_longest_ago_gives_way(tmp_path: Path) -> None:
    old = compiled(tmp_path, "old", used=1_000)
    new = compiled(tmp_path, "new", used=3_000)
    ahead = compiled(tmp_path, "torch_aot_compile/ahead", used=2_000)
    make_room(tmp_path, kept_bytes=300)
    assert old.exists()
    make_room(tmp_path, kept_bytes=250)
    assert (old.exists(), ahead.exists(), new.exists()) == (False, True, True)
    make_room(tmp_path, kept_bytes=100)
    assert (ahead.exists(), new.exists()) == (False, True)


def test_there_may_be_nothing_yet(tmp_path: Path) -> None:
    make_room(tmp_path / "nothing")
