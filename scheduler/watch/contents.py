"""A digest of a repo's contents: do two commits hold the same, but for what changes no answer?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from scheduler.hub.answers import TreeFile
from specs.hub.dataset_card import HOLDS_NO_QUESTIONS

_CARD_KEYS = ("configs", "dataset_info")
"""Of a dataset's card: which files hold which questions, and as what their columns are read."""


def content_digest(files: Iterable[TreeFile]) -> str:
    """Digest of all of a model that can change what it answers; results and documentation cannot."""
    return _digest(
        _line(file)
        for file in files
        if not file.path.startswith(".eval_results/")
        and not file.path.endswith(".md")
        and file.path != ".gitattributes"
    )


def dataset_digest(files: Iterable[TreeFile], card: object) -> str:
    """Digest of all of a dataset that can change what is asked: a file of any name may hold questions.

    `card` is the metadata of its README, which says which files do.
    """
    lines = [_line(file) for file in files if file.path not in HOLDS_NO_QUESTIONS]
    said = {key: card[key] for key in _CARD_KEYS if key in card} if isinstance(card, Mapping) else {}
    return _digest(lines, *([f"card {json.dumps(said, sort_keys=True)}"] if said else ()))


def _line(file: TreeFile) -> str:
    # A name may hold a line break, and would else pass for the line of another file; no name holds a zero byte.
    return f"{file.blob_id} {file.path}".replace("\n", "\0")


def _digest(lines: Iterable[str], *last: str) -> str:
    return hashlib.sha256("\n".join((*sorted(lines), *last)).encode("utf-8", "surrogatepass")).hexdigest()
