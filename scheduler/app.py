"""The control worker's Celery app, with all tasks that it does.

Run by `celery -A scheduler.app worker -Q control --pool threads`; its hours are kept by scheduler/schedule.py.
"""

from specs.processes.garbage import collect_rarely

collect_rarely()

from scheduler.control_worker import own_messages, regular, worker_messages  # noqa: E402, F401 - each gives it its tasks
from scheduler.control_worker.process import app  # noqa: E402

__all__ = ["app"]
