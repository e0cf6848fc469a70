"""Names of queues, for those who need no more of the messages than that."""

from __future__ import annotations

CONTROL_QUEUE = "control"
