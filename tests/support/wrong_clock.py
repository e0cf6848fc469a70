"""A clock that is wrong, for one process and all that it starts. Needs a C compiler.

libfaketime does that too, and has Python's `time.sleep` fail (0.9.10): it takes absolute times of the monotonic clock,
which stays right here, for its own.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*right)(clockid_t, struct timespec *);
    if (!right)
        right = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = right(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += AHEAD_SECONDS;
    return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec found;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    at->tv_sec = found.tv_sec;
    at->tv_usec = found.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *at)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (at)
        *at = found.tv_sec;
    return found.tv_sec;
}
"""


def wrong_clock(folder: Path, ahead_seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is so far ahead of this machine's; negative is behind."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for a clock that is wrong")
    source, library = folder / "wrong_clock.c", folder / "wrong_clock.so"
    source.write_text(_SOURCE)
    how = ["-shared", "-fPIC", f"-DAHEAD_SECONDS=({ahead_seconds})", "-o", str(library)]
    subprocess.run([compiler, *how, str(source), "-ldl"], check=True, capture_output=True)
    return {"LD_PRELOAD": str(library)}
