"""The control plane's processes: API, control workers and beat, each told by its environment where everything is."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from deploy.farm.processes import Process
from specs.messages import CONTROL_QUEUE

CONTROL_THREADS = 8
"""Of a control worker. Five of its tasks may wait for the Hub, or for who listens to webhooks (scan, plan, publish,
comments, webhooks), each of which one process of a farm does at a time. Others are left for reports and heartbeats,
which must not come after a lease has run out."""

QUIET = "WARNING"
"""Celery tells of every message, which here come every second; what happened is in the events."""

ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")
"""Celery's workers otherwise tell one another what they do, and believe it. Ours tell the control plane."""


def celery(app: str, command: str, *options: str) -> list[str]:
    """A command of Celery's for one of our apps."""
    alone = ALONE if command == "worker" else ()
    return [sys.executable, "-m", "celery", "--quiet", "-A", app, command, *alone, *options]


def api(environment: Mapping[str, str]) -> Process:
    """Answers over HTTP."""
    return Process("api", [sys.executable, "-m", "scheduler.api"], environment)


def control_worker(environment: Mapping[str, str], name: str = "control", log_level: str = QUIET) -> Process:
    """Plans, dispatches, collects and publishes. Several of one farm have names of their own."""
    threads = ["--pool", "threads", "--concurrency", str(CONTROL_THREADS)]
    take = ["-Q", CONTROL_QUEUE, "--hostname", f"{name}@%h", "--loglevel", log_level]
    return Process(name, celery("scheduler.app", "worker", *take, *threads), environment)


def beat(environment: Mapping[str, str]) -> Process:
    """Says when what is due; one for a farm."""
    # If the operator has named one, it shows that the control worker consumes: beat would go on touching it.
    own = {name: value for name, value in environment.items() if name != "REPROFARM_LIVENESS_FILE"}
    return Process("beat", celery("scheduler.schedule", "beat", "--pidfile", "", "--loglevel", QUIET), own)
