"""A digest of a repo's contents: do two commits hold the same, but for what changes no answer?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from scheduler.hub.answers import TreeFile

_CARD_KEYS = ("configs", "dataset_info")
"""Of a dataset's card: which files hold which questions, and as what their columns are read."""


def content_digest(files: list[TreeFile], card: object = None) -> str:
    """Digest of all that can change what a model answers or is asked; results and documentation cannot.

    `card` is the metadata of a dataset's README, which says what the data files are.
    """
    relevant = sorted(
        # A name may hold a line break, and would else pass for the line of another file; no name holds a zero byte.
        f"{file.blob_id} {file.path}".replace("\n", "\0")
        for file in files
        if not file.path.startswith(".eval_results/")
        and not file.path.endswith(".md")
        and file.path != ".gitattributes"
    )
    said = {key: card[key] for key in _CARD_KEYS if key in card} if isinstance(card, Mapping) else {}
    if said:
        relevant.append(f"card {json.dumps(said, sort_keys=True)}")
    return hashlib.sha256("\n".join(relevant).encode("utf-8", "surrogatepass")).hexdigest()
