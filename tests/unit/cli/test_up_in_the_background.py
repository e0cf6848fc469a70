"""`reprofarm up` in the background, where a script's shell has SIGINT ignored, and where its terminal is closed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
from deploy.cli.up import stop_like_ctrl_c
stop_like_ctrl_c()
try:
    os.kill(os.getpid(), signal.{name})
except KeyboardInterrupt:
    print("stopping")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_it_stops_in_order_though_the_signal_was_ignored_when_it_was_started(name: str) -> None:
    ignoring = ["sh", "-c", f"trap '' {name.removeprefix('SIG')}; exec \"$@\"", "sh"]
    program = [sys.executable, "-c", PROGRAM.format(name=name)]
    assert subprocess.run([*ignoring, *program], capture_output=True, check=True).stdout == b"stopping\n"


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ([], b"stopping\nstopped\n"),
        # As `nohup` does, which writes elsewhere besides.
        (["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"], b"stopped\n"),
    ],
)
def test_it_stops_in_order_without_its_terminal_unless_it_was_told_to_outlive_that(
    start: list[str], words: bytes
) -> None:
    # Both the shell and the kernel tell it.
    program = PROGRAM.format(name="SIGHUP") + "os.kill(os.getpid(), signal.SIGHUP)\nprint('stopped')\n"
    assert subprocess.run([*start, sys.executable, "-c", program], capture_output=True, check=True).stdout == words
