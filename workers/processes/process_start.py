"""Which process a number stands for: numbers are given out again, above all in a container that was started anew."""

from __future__ import annotations

from pathlib import Path


def process_start(pid: int) -> int | None:
    """When a process began, in ticks since the machine came up; None where it does not run, or not on Linux.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)). Unlike a time of day, no clock that is set changes it. One that ended
    and that its parent has not asked after yet does not run.
    """
    try:
        # The name in parentheses may hold anything; what follows the last one begins with the third field, the state.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[19]) if fields[0] not in "ZX" else None
    except (OSError, ValueError, IndexError):
        return None
