"""Where evidence lies in its store: what workers write, the control plane and the API read."""

from __future__ import annotations

SUFFIX = ".eval"


def path_in_store(sha256: str) -> str:
    """`<aa>/<sha256>.eval` under the store's URL, where `aa` begins the digest: no folder grows too large."""
    return f"{sha256[:2]}/{sha256}{SUFFIX}"
