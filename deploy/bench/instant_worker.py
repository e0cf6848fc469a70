"""A worker whose runs take no time: `celery -A deploy.bench.instant_worker worker -Q pool.NAME`.

It stands for a real one where only the control plane is measured: it stores a log and reports, at once.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from celery import Celery

from deploy.bench.instant_log import InstantLogs
from specs.messages import CONTROL_QUEUE, REPORT, RUN_BATCH, AttemptOutcome, Report, RunBatch

BROKER, TEMPLATE, STORE = "BENCH_BROKER_URL", "BENCH_LOG", "BENCH_STORE"
"""Environment variables: Redis, the log to copy, and the folder of the evidence store."""

app = Celery("instant", broker=os.environ.get(BROKER), task_ignore_result=True, worker_enable_remote_control=False)


@cache
def _logs() -> InstantLogs:
    return InstantLogs(Path(os.environ[TEMPLATE]), Path(os.environ[STORE]))


@app.task(name=RUN_BATCH, shared=False)
def run_batch(message: object) -> None:
    """Report every order of a batch as done."""
    batch = RunBatch.decode(message)
    for order in batch.orders:
        measurement, evidence = _logs().stored(batch.model, order)
        report = Report(
            ref=order.ref,
            worker="instant@bench",
            batch_id=batch.batch_id,
            model=batch.model,
            task=order.task,
            outcome=AttemptOutcome.COMPLETED,
            detail="",
            measurement=measurement,
            evidence=evidence,
        )
        app.send_task(REPORT, args=[report.encode()], queue=CONTROL_QUEUE)
