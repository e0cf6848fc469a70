"""The control plane reads the evidence itself before it believes a report."""

from __future__ import annotations

import hashlib

from fsspec.core import url_to_fs

from specs.errors import EvidenceError
from specs.evidence import path_in_store
from specs.messages import Report


def check_evidence(evidence_url: str, report: Report) -> None:
    """Check that the log that a report names is there and is what it says.

    Raises:
        EvidenceError: it is not; says which check failed.
    """
    if report.evidence is None:
        raise EvidenceError("the report names no evidence")
    files, root = url_to_fs(evidence_url)
    try:
        log: bytes = files.cat_file(f"{root.rstrip('/')}/{path_in_store(report.evidence.sha256)}")
    except OSError as error:
        raise EvidenceError(f"the log {report.evidence.sha256} is not in the evidence store") from error
    if hashlib.sha256(log).hexdigest() != report.evidence.sha256:
        raise EvidenceError("the log in the evidence store is another one than the report names")
