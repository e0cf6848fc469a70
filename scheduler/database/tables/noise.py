"""The noise ledger: how honest re-runs differ, pair by pair."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from scheduler.database.tables.base import Table, now
from scheduler.database.tables.reproductions import Reproduction


class NoisePair(Table):
    """Two completed reproductions of the same weights and samples under the same settings, and how they differ."""

    __tablename__ = "noise"
    __table_args__ = (Index("noise_by_task", "dataset_id", "task_id", "recorded_at"),)

    reproduction_id: Mapped[str] = mapped_column(ForeignKey("reproduction.reproduction_id"), primary_key=True)
    """The later of the two."""

    earlier_id: Mapped[str] = mapped_column(ForeignKey("reproduction.reproduction_id"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(200))
    dataset_revision: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(String(200))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    settings_sha256: Mapped[str] = mapped_column(String(64))
    """Digest of the settings that both have in common: `scheduler.judging.noise.settings_sha256`."""

    epochs: Mapped[int]
    model_class: Mapped[str] = mapped_column(String(20))
    """A bucket by size: `specs.judging.noise.model_class`."""

    pool: Mapped[str] = mapped_column(String(50))
    """Of the later run; its engine and hardware are what that pool was last seen to have."""

    engine: Mapped[str] = mapped_column(String(100))
    """Version of vLLM in the later run."""

    earlier_engine: Mapped[str] = mapped_column(String(100))
    hardware: Mapped[str] = mapped_column(String(500))
    earlier_hardware: Mapped[str] = mapped_column(String(500))
    population: Mapped[int]
    """Samples that the task has."""

    samples: Mapped[int]
    """Scored in both runs."""

    mean_difference: Mapped[float]
    """Of the later score less the earlier; proportions."""

    mean_square: Mapped[float]
    mean_score: Mapped[float | None]
    """Of both runs. None only for what a control worker of an earlier version entered during an upgrade."""

    recorded_at: Mapped[datetime] = mapped_column(default=now)

    reproduction: Mapped[Reproduction] = relationship(foreign_keys=[reproduction_id])
