"""A broker's queues as the reaper sees them."""

from __future__ import annotations


def nothing_queued(_queue: str) -> set[str]:
    """The ids of the messages that wait in a queue: none."""
    return set()


def nothing_withdrawn(_queue: str, _message_id: str) -> bool:
    """Whether a message was taken out of a queue: it was not there."""
    return False


EMPTY_QUEUES = (nothing_queued, nothing_withdrawn)
