"""Writes the lines of the record, once they are committed, into the log of the process that did what they say.

The record itself is in the database. The log is for whoever follows a farm where its logs are gathered.
"""

from __future__ import annotations

import logging

from sqlalchemy import event
from sqlalchemy.orm import Session

from scheduler.database.session import Database, written
from specs.processes.log_lines import about

WITH_FIELDS = {"claim": "claim_id", "reproduction": "reproduction_id"}
"""Subjects for which a line of the log has a field of its own."""

log = logging.getLogger(__name__)


def log_changes(database: Database) -> None:
    """Have this database's changes logged by this process."""

    def tell(session: Session) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        for line in written(session):
            subject, subject_id = line["subject"], line["subject_id"]
            with about(**({WITH_FIELDS[subject]: subject_id} if subject in WITH_FIELDS else {})):
                log.info("%s %s: %s, by %s: %s", subject, subject_id, line["what"], line["actor"], line["why"])

    event.listen(database.sessions, "after_commit", tell)
