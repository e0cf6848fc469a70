"""Which reproductions of a pool may be sent out."""

from __future__ import annotations

from sqlalchemy import bindparam, or_

from scheduler.database.tables import Reproduction
from scheduler.state_machine import ReproductionState

IS_READY = (
    Reproduction.pool == bindparam("pool"),
    Reproduction.state == ReproductionState.QUEUED,
    or_(Reproduction.not_before.is_(None), Reproduction.not_before <= bindparam("at")),
)
"""Conditions, for a `pool` and a time `at`: queued, and not backing off after a failed attempt."""
