"""A fork server that takes nothing, as one whose import hangs: `python -m tests.support.hanging_server FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from workers.processes.fork_server import listen

if __name__ == "__main__":
    listener = listen(Path(sys.argv[1]))
    time.sleep(3600)
