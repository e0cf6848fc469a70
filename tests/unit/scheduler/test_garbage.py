"""How often a control worker looks for garbage."""

from __future__ import annotations

import subprocess
import sys


def test_a_control_worker_that_is_up_leaves_alone_what_it_imported() -> None:
    # In a process of its own: what is frozen here would stay so for all tests that follow.
    script = """
import gc
import scheduler.app
from celery import signals
signals.worker_ready.send(sender=None)
print(gc.get_threshold()[0], gc.get_freeze_count() > 100_000)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split() == ["10000", "True"]
