from __future__ import annotations

import os
from pathlib import Path

from specs.messages import AttemptRef
from workers.batches.dropped_attempts import DroppedAttempts


def test_only_the_dropped_attempt_is_dropped(tmp_path: Path) -> None:
    dropped = DroppedAttempts(tmp_path / "dropped")
    dropped.mark("../b", AttemptRef(reproduction_id="../../etc/passwd", attempt=2))
    assert DroppedAttempts(tmp_path / "dropped").has("../b", AttemptRef(reproduction_id="../../etc/passwd", attempt=2))
    assert not dropped.has("../b", AttemptRef(reproduction_id="../../etc/passwd", attempt=3))
    assert [each.parent for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "dropped"]


def test_the_same_number_given_again_by_a_restored_farm_is_not_dropped(tmp_path: Path) -> None:
    dropped = DroppedAttempts(tmp_path)
    ref = AttemptRef(reproduction_id="r", attempt=2)
    dropped.mark("before the loss", ref)
    assert not dropped.has("since the restore", ref)


def test_an_old_drop_is_forgotten(tmp_path: Path) -> None:
    dropped = DroppedAttempts(tmp_path)
    ref = AttemptRef(reproduction_id="r", attempt=1)
    dropped.mark("b", ref)
    dropped.tidy()
    assert dropped.has("b", ref)
    (file,) = tmp_path.iterdir()
    os.utime(file, (0, 0))
    dropped.tidy()
    assert not dropped.has("b", ref)
