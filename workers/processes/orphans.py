"""Processes that outlived their guard, found by a mark in their environment.

A guard that gets SIGKILL takes its direct child with it (the kernel's parent-death signal), and nothing below that.
What is left inherited its environment, mark included, wherever in the tree of processes it is now.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from workers.processes.guard import TRACKER_SECONDS, all_processes, is_tracker

MARK = "REPROFARM_GUARDED"
"""Environment variable of all that runs under a guard; the value begins with the folder that it was started in."""

_PATIENCE_SECONDS = 20.0


def marking(mark: str) -> dict[str, str]:
    """The variables by which a process, and all that it starts, is found again.

    vLLM names its processes ("VLLM::EngineCore") by setproctitle, which writes the name over what others see of their
    environment (/proc/PID/environ), unless it is told not to.
    """
    return {MARK: mark, "SPT_NOENV": "1"}


def marked(start: str) -> list[int]:
    """The processes of this user whose mark begins with `start`. None elsewhere than on Linux."""
    wanted = f"{MARK}={start}".encode()
    found = []
    for pid in all_processes():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended, or is another user's.
        if any(each.startswith(wanted) for each in variables):
            found.append(pid)
    return [pid for pid in found if pid != os.getpid()]


def end_marked(start: str) -> int:
    """Kill every process whose mark begins with `start`; how many there were. Returns when they are gone."""
    ended: set[int] = set()
    deadline, trackers_until = time.monotonic() + _PATIENCE_SECONDS, time.monotonic() + TRACKER_SECONDS
    # Repeats, because one may fork between the look and the signal. What was killed has no environment any more.
    while (found := marked(start)) and time.monotonic() < deadline:
        for pid in found:
            if time.monotonic() < trackers_until and is_tracker(pid):
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            ended.add(pid)
        time.sleep(0.05)
    return len(ended)


def remove_temporary(folder: Path) -> None:
    """Remove the temporary folders of all that was ever started in a folder, none of which may be there any more.

    Who is to remove such a folder may be killed before that: a guard, or the machine.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_prefix(folder)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _prefix(folder: Path) -> str:
    # Short: a socket's path may have 107 bytes.
    return f"reprofarm-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}-"


@dataclass(frozen=True)
class Remains:
    """What is left where a guard was killed."""

    mark: str
    temporary: str
    """A folder; empty for none."""

    @classmethod
    def of(cls, folder: Path, *, own_temporary: bool) -> Self:
        """Of something that is about to start in a folder."""
        # In the usual place: a socket's path may have 107 bytes, and a worker's own folders may be deep.
        temporary = tempfile.mkdtemp(prefix=_prefix(folder)) if own_temporary else ""
        return cls(f"{folder}:{secrets.token_hex(8)}", temporary)

    def variables(self) -> dict[str, str]:
        """What it is told by its environment, for its remains to be found."""
        return {**({"TMPDIR": self.temporary} if self.temporary else {}), **marking(self.mark)}

    def end(self) -> None:
        """Remove it."""
        end_marked(self.mark)
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)
