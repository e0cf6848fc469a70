"""A process that stands between a worker and what it starts, and leaves nothing behind.

Run as a script, by path, with the standard library alone: `python -I guard.py GRACE_SECONDS FOLDER COMMAND…`. It starts
the command and ends with its exit status (128 plus the signal, for a signal). The command's whole tree of processes
ends with it: when the command ends, when the guard gets SIGTERM or SIGINT, and when standard input closes, which it
does when whoever started the guard dies, however suddenly. vLLM needs this: its EngineCore and its workers outlive a
`kill -9` of the API server and keep their memory (https://github.com/vllm-project/vllm/issues/55510). FOLDER, where it
is not empty, is for the command's temporary files, and is removed in the end.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Upon which a guard stops its command."""

_LOOK_SECONDS = 5.0
"""Between two looks whether the command has ended, should no signal say so."""

TRACKER_SECONDS = 5.0
"""For trackers of shared memory to remove what is left, once those that used it are gone."""


def _prctl(option: int, value: int) -> None:
    # Elsewhere than on Linux there is no such call; the guard then ends the direct child and its process group only.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_guard() -> None:
    """Have the kernel end this process when the one that started it ends; elsewhere than on Linux it does not."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def begin_below_guard() -> None:
    """In a process that a guard has just forked: end when the guard does, and take its signals as any process does.

    Until then it has the guard's own handlers, on which a request to end would be lost: `run` forks with such requests
    held back, and here they come through.
    """
    die_with_guard()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *_ORDERS):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)


def all_processes() -> list[int]:
    """Every process that can be seen. None elsewhere than on Linux. Any of them may be gone by the time it is asked."""
    # Not by a pattern for files below: to match one, pathlib looks whether each is there, and a process that ends at
    # that moment raises what pathlib does not expect (ESRCH).
    try:
        return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    except OSError:
        return []


def _descendants() -> list[int]:
    """Every process below this one. Orphans among them are ours too: this process is their subreaper."""
    children: dict[int, list[int]] = {}
    for pid in all_processes():
        try:
            # The name in parentheses may hold anything; what follows the last one is: state, parent, …
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def is_tracker(pid: int) -> bool:
    """Whether a process is Python's tracker of shared memory (`multiprocessing`, joblib).

    It ends by itself once all that use it are gone, and removes from /dev/shm what they left there, which of vLLM is
    hundreds of MB for each engine. Killed with the others, it would leave that for as long as the machine is up.
    """
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _reap(main: int) -> int | None:
    """Collect what has ended; the exit status of `main` if it is among it."""
    status: int | None = None
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == main:
            code = os.waitstatus_to_exitcode(raw)
            status = 128 - code if code < 0 else code


def _kill_all() -> None:
    """End every descendant. Repeats, because one may fork between the look and the signal."""
    trackers_until = time.monotonic() + TRACKER_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for descendant in _descendants():
                if time.monotonic() < trackers_until and is_tracker(descendant):
                    continue
                try:
                    os.kill(descendant, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)


def _wait_for_end_or_order(main: int, wakeup: int, asked: list[int]) -> int | None:
    """The exit status of `main`, or None once the guard is to stop it."""
    while True:
        ready, _, _ = select.select([0, wakeup], [], [], _LOOK_SECONDS)
        status = _reap(main)
        if status is not None:
            return status
        if wakeup in ready:
            os.read(wakeup, 4096)
        if asked or (0 in ready and not os.read(0, 4096)):
            return None


def _stop(main: int, grace_seconds: float) -> int:
    """Ask `main` to end; the exit status it then has, or that of SIGKILL."""
    os.kill(main, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline:
        status = _reap(main)
        if status is not None:
            return status
        time.sleep(0.05)
    return 128 + signal.SIGKILL


def run(grace_seconds: float, start: Callable[[], int]) -> int:
    """Have `start` start a process, see to its end, and return its exit status.

    `start` returns the process id; what it starts calls `begin_below_guard` first.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    asked: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Whoever started this process may have had it blocked, and that is handed down.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for number in _ORDERS:
        signal.signal(number, lambda received, _: asked.append(received))
    signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
    try:
        main = start()
    except OSError as error:
        sys.stderr.write(f"guard: {error}\n")
        return 127
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)
    status = _wait_for_end_or_order(main, wakeup, asked)
    if status is None:
        status = _stop(main, grace_seconds)
    _kill_all()
    return status


_STARTED: list[subprocess.Popen[bytes]] = []
"""Kept: one that Python forgets is asked after by Python, and had it ended by then, the guard would wait for ever."""


def _start(command: list[str]) -> int:
    try:
        # The guard has one thread, so running Python between fork and exec is safe.
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=begin_below_guard)  # noqa: PLW1509
    except OSError as error:
        raise OSError(f"cannot start {command[0]}: {error}") from error
    _STARTED.append(started)
    return started.pid


def main(arguments: list[str]) -> int:
    """Stand over a command; its exit status."""
    grace_seconds, folder, *command = arguments
    try:
        return run(float(grace_seconds), lambda: _start(command))
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
