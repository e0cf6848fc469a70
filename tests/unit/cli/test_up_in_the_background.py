"""`reprofarm up` as a script starts it in the background, where the shell has SIGINT ignored."""

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
