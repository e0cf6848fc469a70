"""Inspect's log, compressed by the thread that writes it.

Inspect (0.3.285, `inspect_ai/_util/zipfile.py`) has each entry of a log compressed by twelve threads, which it starts
for that entry and ends after it. An entry is an answer, mostly some kilobytes: the threads take a tenth of what an
answer costs its run, and while they wait for a core that the engine has, no other answer is sent or taken.
"""

from __future__ import annotations

from inspect_ai._util import zipfile as _zipfile


def compress_without_threads() -> None:
    """Have it so in this process. What is written can be read as before."""
    _zipfile._ZSTD_THREADS = 0
