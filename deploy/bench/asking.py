"""For how long a run asked its engine: from its first sample's beginning to its last one's end, as its log has them.

The log's own beginning and end have Inspect's preparations in them, and count whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from specs.logs.run_log import RunLog


def asking_seconds(log: Path) -> float:
    """Of one run.

    Raises:
        EvidenceError: it is no finished log of Inspect's.
    """
    with RunLog(log) as opened:
        summaries = opened.summaries()
    began = min(_times(each["started_at"] for each in summaries))
    ended = max(_times(each["completed_at"] for each in summaries))
    return (ended - began).total_seconds()


def _times(texts: Iterable[str]) -> Iterable[datetime]:
    return (datetime.fromisoformat(text) for text in texts)
