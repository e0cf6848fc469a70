"""Inspect's logs are compressed by the thread that writes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from inspect_ai._util.zipfile import zipfile_compress_kwargs

from workers.runs.log_compression import compress_without_threads


def test_an_entry_of_a_log_starts_no_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect's own constant: where a later release has another, this says so."""
    made: list[dict[str, Any]] = []
    real = zstandard.ZstdCompressor

    def noted(**given: Any) -> zstandard.ZstdCompressor:
        made.append(given)
        return real(**given)

    monkeypatch.setattr(zstandard, "ZstdCompressor", noted)
    monkeypatch.setattr("inspect_ai._util.zipfile._ZSTD_THREADS", 12)
    compress_without_threads()
    with zipfile.ZipFile(tmp_path / "log.eval", "w", **zipfile_compress_kwargs) as log:
        log.writestr("samples/1_epoch_1.json", b"an answer")
    assert [each["threads"] for each in made] == [0]
    with zipfile.ZipFile(tmp_path / "log.eval") as log:
        assert log.read("samples/1_epoch_1.json") == b"an answer"
