"""Ids of Hub repos and of benchmark tasks, as the Hub allows them."""

from __future__ import annotations

import re

from specs.text import is_clean

MAX_TASK_ID_CHARS = 200

# The rules of huggingface_hub's `validate_repo_id` (utils/_validators.py, 2.4), for at most one namespace.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,94}[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"(?:{_PART}/)?{_PART}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def is_repo_id(text: str) -> bool:
    """Whether the Hub could have a repo of that id, with or without a namespace."""
    return bool(_REPO_ID.fullmatch(text)) and "--" not in text and ".." not in text and not text.endswith(".git")


def has_namespace(repo_id: str) -> bool:
    """Whether the id names its owner. Only a few old datasets have none, and the Hub redirects those."""
    return "/" in repo_id


def is_task_id(text: str) -> bool:
    """Whether `text` can be the id of a task: any one line without hidden characters."""
    return 0 < len(text) <= MAX_TASK_ID_CHARS and is_clean(text)


def trace_id_of(subject_id: str) -> str | None:
    """The OpenTelemetry trace of a claim or a reproduction: its own id. None where that is no trace id.

    Both are UUIDs of 32 hexadecimal digits, which is what a trace id is; so every process knows a thing's trace without
    being told, and goes on with it after a restart.
    """
    return subject_id if _TRACE_ID.fullmatch(subject_id) and subject_id.strip("0") else None
