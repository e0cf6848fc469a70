"""What the control plane's pace is compared with: Celery tasks that do nothing."""

from __future__ import annotations

import os

from celery import Celery

QUEUE = "bare"

app = Celery(
    "bare",
    broker=os.environ.get("BENCH_BROKER_URL"),
    task_ignore_result=True,
    worker_enable_remote_control=False,
    task_default_queue=QUEUE,
)


@app.task
def nothing(_body: dict[str, str]) -> None:
    """Do nothing."""
