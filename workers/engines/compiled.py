"""The cache of what vLLM compiles for a model, for the model's next engine; what was used longest ago gives way.

vLLM itself (0.32) keeps it for ever, in the home folder, which in a container is memory at times and gone with it. Its
folders are named by all that decides what is compiled: versions, arguments, the model's config.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

KEPT_BYTES = 10 * 2**30

_AHEAD_OF_TIME = "torch_aot_compile"
_log = logging.getLogger(__name__)


def make_room(vllm_cache: Path, kept_bytes: int = KEPT_BYTES) -> None:
    """Remove what is beyond so many bytes, in vLLM's cache folder; best while no engine starts."""
    kept = 0
    try:
        latest_first = sorted((_used(each) for each in _folders(vllm_cache / "torch_compile_cache")), reverse=True)
    except OSError:
        # An engine that sleeps may change something meanwhile. An engine is not started less for it.
        _log.warning("what was compiled could not be looked through", exc_info=True)
        return
    for _, size, folder in latest_first:
        kept += size
        if kept > kept_bytes:
            _log.info("what was compiled in %s gives way: %d bytes", folder.name, size)
            shutil.rmtree(folder, ignore_errors=True)


def _folders(compiled: Path) -> Iterator[Path]:
    for each in compiled.iterdir() if compiled.is_dir() else ():
        yield from each.iterdir() if each.name == _AHEAD_OF_TIME else (each,)


def _used(folder: Path) -> tuple[float, int, Path]:
    """When it was read or written last (to the day, as file systems note it), its bytes, and itself."""
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    last = max((max(file.st_atime, file.st_mtime) for file in files), default=0.0)
    return last, sum(file.st_size for file in files), folder
