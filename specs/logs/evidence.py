"""Where evidence lies in its store: what workers write, the control plane and the API read."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from fsspec.registry import known_implementations
from fsspec.utils import get_protocol
from pydantic import AfterValidator

SUFFIX = ".eval"

MAX_LOG_BYTES = 4 * 2**30
"""Of one log: what the control plane reads, and a worker that is to go on from it."""


def _readable(url: str) -> str:
    protocol = get_protocol(url)
    known = known_implementations.get(protocol)
    if known is None:
        raise ValueError("no store that fsspec knows: s3://BUCKET/FOLDER, say, or file:///FOLDER")
    if find_spec(known["class"].partition(".")[0]) is None:
        # Else each run would wait for hours for a store that is taken to be away.
        raise ValueError(f"a store for which a package has to be installed. {known.get('err', '')}".rstrip())
    return url


EvidenceUrl = Annotated[str, AfterValidator(_readable)]
"""Of a store that this process has the package for."""


def path_in_store(sha256: str) -> str:
    """`<aa>/<sha256>.eval` under the store's URL, where `aa` begins the digest: no folder grows too large."""
    return f"{sha256[:2]}/{sha256}{SUFFIX}"
