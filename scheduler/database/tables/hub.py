"""What the Hub says: benchmarks and their specs, models and their result files, as they were last seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now


class Benchmark(Table):
    """A benchmark that is watched, or was, as it was last seen."""

    __tablename__ = "benchmark"

    dataset_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str | None] = mapped_column(String(64))
    """None where it could not be read yet."""

    unlisted_at: Mapped[datetime | None]
    """When a list of those that are watched first lacked it; None where it is on the last one."""

    gated: Mapped[bool] = mapped_column(default=False)
    leaderboard_etag: Mapped[str | None] = mapped_column(String(200))
    leaderboard: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Digest of each leaderboard row, by model, pull request and file: tells what changed."""

    has_percent: Mapped[bool] = mapped_column(default=False)
    """Most of those with a score on the leaderboard write percentages: `specs.hub.leaderboard.written_in_percent`."""

    sizes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Number of samples by config and split, as the dataset's card says at `revision`: specs/hub/dataset_card.py."""

    seen_at: Mapped[datetime] = mapped_column(default=now)


class SpecFile(Table):
    """An eval.yaml at one dataset commit."""

    __tablename__ = "spec_file"

    dataset_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[bytes | None]
    """None where the dataset has no eval.yaml at that commit."""

    content_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the names and contents of all the dataset's files, of the README its metadata: two commits with the same one
    hold the same samples. None where it was not looked at, or there is too much of either."""


BEING_LOOKED_AT = datetime(1970, 1, 1, tzinfo=UTC)
"""When a model was looked at that is due, where a look has begun: long ago, so that it stays due until that ends."""

UNREADABLE = ""
"""In place of a digest, where a model has more files than the farm reads: others than any that were run."""


class Model(Table):
    """A model repo, as it was last seen."""

    __tablename__ = "model"
    __table_args__ = (Index("model_by_look", "looked_at"),)

    model_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    revision: Mapped[str | None] = mapped_column(String(64))
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the names and contents of all files but results and documentation: what a reproduction depends on;
    `UNREADABLE` where there are too many."""

    weights_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Of the safetensors files that an engine loads; None where there are none."""

    size: Mapped[dict[str, Any] | None]
    """What it needs of memory: a `specs.engines.model_size.ModelSize`. None where there are no weights, or nobody has
    looked since the farm keeps it."""

    size_reading: Mapped[int] = mapped_column(default=0)
    """By which `specs.engines.model_config.READING` that was found out. No part of the size, in which a process of an
    earlier version would refuse it."""

    gated: Mapped[bool] = mapped_column(default=False)
    heads: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Commit of each open pull request that was looked at, by its ref; of main, by `main`, as far as that was read to
    its end. Empty where the farm may not read all result files there."""

    looked_at: Mapped[datetime | None]
    """None where somebody has said that it changed, and no look has begun since."""


class ResultFile(Table):
    """A file of `.eval_results/` on main or on an open pull request, as it was last read."""

    __tablename__ = "result_file"

    model_id: Mapped[str] = mapped_column(ForeignKey("model.model_id"), primary_key=True)
    ref: Mapped[str] = mapped_column(String(100), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    blob_id: Mapped[str] = mapped_column(String(64))
