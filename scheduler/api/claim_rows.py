"""Claims with all that hangs on them, read by one question each, as plain rows.

Plain ones of the tables, past the mapper: to make objects of what nobody changes, or to work out anew how a question
reads that is always the same, takes longer than the database does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import FromClause, Select, bindparam, select
from sqlalchemy.engine import result_tuple
from sqlalchemy.orm import Session

from scheduler.api import queue
from scheduler.api.dependencies import Source
from scheduler.api.ids import whole_id
from scheduler.api.views import ClaimRow
from scheduler.database.tables import Attempt, Badge, Claim, Publication, Reproduction, VerdictRow

CLAIM, RUN, ATTEMPT, VERDICT, BADGE, PUBLICATION = (
    table.__table__ for table in (Claim, Reproduction, Attempt, VerdictRow, Badge, Publication)
)


class _Part:
    """What a claim's view shows of one table."""

    def __init__(self, table: FromClause, key: str, shown: str) -> None:
        """`key` is a column that is null in no row."""
        names = [key, *shown.split()]
        self.columns = [table.c[name] for name in names]
        self._row = result_tuple(names)

    def of(self, values: Sequence[Any]) -> Any:  # read as a row of the table's own class
        """The row with these values of `columns`, if there is one."""
        return self._row(values) if values[0] is not None else None


PARTS = (
    _Part(
        CLAIM,
        "claim_id",
        "model_id ref pull_request path entry commit submitter dataset_id dataset_revision task_id value notes"
        " source_url warnings state reason since recheck_at awaits_approval created_at rules gpu_seconds supersedes"
        " superseded_by stale_reason",
    ),
    _Part(
        RUN,
        "reproduction_id",
        "model_id model_revision dataset_id dataset_revision task_id spec_sha256 seed pool priority state reason since"
        " created_at not_before set_aside attempt worker evidence_sha256",
    ),
    _Part(ATTEMPT, "reproduction_id", "stage samples_done samples_total score"),
    _Part(VERDICT, "claim_id", "verdict decided_at"),
    _Part(BADGE, "claim_id", "badge_id signed_at revoked_at revoked_reason"),
    _Part(PUBLICATION, "claim_id", "state number url reason"),
)

_ENDS = tuple(accumulate(len(part.columns) for part in PARTS))
_SLICES = tuple(slice(end - len(part.columns), end) for part, end in zip(PARTS, _ENDS, strict=True))

_WITH_PARTS: Select[Any] = (
    select(*(column for part in PARTS for column in part.columns))
    .select_from(CLAIM)
    .outerjoin(RUN, CLAIM.c.reproduction_id == RUN.c.reproduction_id)
    .outerjoin(ATTEMPT, (ATTEMPT.c.reproduction_id == RUN.c.reproduction_id) & (ATTEMPT.c.number == RUN.c.attempt))
    .outerjoin(VERDICT, VERDICT.c.claim_id == CLAIM.c.claim_id)
    .outerjoin(BADGE, BADGE.c.claim_id == CLAIM.c.claim_id)
    .outerjoin(PUBLICATION, PUBLICATION.c.claim_id == CLAIM.c.claim_id)
)

# Made once: how they read is then worked out once too.
_ONE = _WITH_PARTS.where(CLAIM.c.claim_id == bindparam("claim_id"))
_SEVERAL = _WITH_PARTS.where(CLAIM.c.claim_id.in_(bindparam("claim_ids", expanding=True))).order_by(
    CLAIM.c.created_at.desc(), CLAIM.c.claim_id.desc()
)


def claim_row(source: Source, session: Session, claim_id: str) -> ClaimRow:
    """A claim, by its id or the start of it.

    Raises:
        NotFound: there is no such claim.
        Ambiguous: several begin like that.
    """
    found = _read(source, session, _ONE, {"claim_id": claim_id})
    if not found:
        # The start of an id, or none of ours.
        whole = whole_id(session, Claim.claim_id, claim_id, "claim")
        found = _read(source, session, _ONE, {"claim_id": whole})
    return found[0]


def claim_rows(source: Source, session: Session, claim_ids: Sequence[str]) -> Sequence[ClaimRow]:
    """Claims by their ids, newest first."""
    return _read(source, session, _SEVERAL, {"claim_ids": claim_ids}) if claim_ids else []


def _read(source: Source, session: Session, query: Select[Any], asked: Mapping[str, object]) -> list[ClaimRow]:
    found = [
        [part.of(row[columns]) for part, columns in zip(PARTS, _SLICES, strict=True)]
        for row in session.execute(query, asked).all()
    ]
    lines = queue.lines(source, session, [run for _, run, *_ in found if run is not None])
    return [
        ClaimRow(
            claim=claim,
            run=queue.run_in(lines, run, attempt) if run is not None else None,
            verdict=verdict,
            badge=badge,
            publication=publication,
        )
        for claim, run, attempt, verdict, badge, publication in found
    ]
