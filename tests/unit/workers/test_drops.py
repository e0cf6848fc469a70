from __future__ import annotations

import os
from pathlib import Path

from specs.messages import AttemptRef
from workers.batches.drops import Drops


def test_only_the_dropped_attempt_is_dropped(tmp_path: Path) -> None:
    drops = Drops(tmp_path / "dropped")
    drops.mark(AttemptRef(reproduction_id="../../etc/passwd", attempt=2))
    assert Drops(tmp_path / "dropped").has(AttemptRef(reproduction_id="../../etc/passwd", attempt=2))
    assert not drops.has(AttemptRef(reproduction_id="../../etc/passwd", attempt=3))
    assert [each.parent for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "dropped"]


def test_an_old_drop_is_forgotten(tmp_path: Path) -> None:
    drops = Drops(tmp_path)
    ref = AttemptRef(reproduction_id="r", attempt=1)
    drops.mark(ref)
    drops.tidy()
    assert drops.has(ref)
    (file,) = tmp_path.iterdir()
    os.utime(file, (0, 0))
    drops.tidy()
    assert not drops.has(ref)
