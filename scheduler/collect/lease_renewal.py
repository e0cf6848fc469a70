"""Renews the leases of attempts whose reports are being checked, for their workers are done and renew them no more.

To read a log of gigabytes, or from a store that is slow, takes longer than a lease lasts. The reaper would have the run
done once more, and the report would come too late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

AT_MOST_SECONDS = 3600.0
"""A store that takes a read and never answers keeps an attempt no longer."""

log = logging.getLogger(__name__)


@contextmanager
def renewing(renew: Callable[[], object], every_seconds: float) -> Iterator[None]:
    """Have a lease renewed now and then while the block takes its time."""
    with _renewer(every_seconds).renewing(renew):
        yield


@dataclass(frozen=True, eq=False)
class _Lease:
    renew: Callable[[], object]
    since: float = field(default_factory=time.monotonic)


class _Renewer:
    """One thread for all leases of a process, there while there are any.

    Most reports are checked in no time: a thread for each would have this process's others wait for it twice.
    """

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._leases: set[_Lease] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def renewing(self, renew: Callable[[], object]) -> Iterator[None]:
        lease = _Lease(renew)
        with self._lock:
            self._leases.add(lease)
            if self._thread is None:
                thread = threading.Thread(target=self._renew_all, name="leases", daemon=True)
                thread.start()
                self._thread = thread
        try:
            yield
        finally:
            with self._lock:
                self._leases.discard(lease)

    def _renew_all(self) -> None:
        while True:
            time.sleep(self._every_seconds)
            with self._lock:
                if not self._leases:
                    self._thread = None
                    return
                oldest = time.monotonic() - AT_MOST_SECONDS
                leases = [lease for lease in self._leases if lease.since > oldest]
            for lease in leases:
                try:
                    lease.renew()
                except Exception as error:  # noqa: BLE001 - a database that is away for a moment; the others go on
                    log.warning("the lease of what is being checked was not renewed: %s", error)


@cache
def _renewer(every_seconds: float) -> _Renewer:
    return _Renewer(every_seconds)
