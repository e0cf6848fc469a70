"""A digest of a repo's contents: do two commits hold the same, but for what changes no answer?"""

from __future__ import annotations

import hashlib

from scheduler.hub.answers import TreeFile


def content_digest(files: list[TreeFile]) -> str:
    """Digest of all that can change what a model answers or is asked; results and documentation cannot."""
    relevant = sorted(
        f"{file.blob_id} {file.path}"
        for file in files
        if not file.path.startswith(".eval_results/")
        and not file.path.endswith(".md")
        and file.path != ".gitattributes"
    )
    return hashlib.sha256("\n".join(relevant).encode("utf-8", "surrogatepass")).hexdigest()
