"""How a scrape is answered: one question of the database at once, and none for ever.

What is counted is in figures.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from scheduler.database.session import Database
from scheduler.database.tables import now
from scheduler.metrics.figures import Figures
from specs.policy.rules import Policy

ANSWER_SECONDS = 7.0
"""In which the database answers a scrape, else it is called away: Prometheus waits for ten. Where the network swallows
what is sent, it takes longer than that to connect, and longer still to find that a connection is dead."""


def registry(database: Database, policy: Policy) -> CollectorRegistry:
    """The farm's figures and the process's own."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    found.register(FarmCollector(database, policy))
    return found


class FarmCollector(Collector):
    """The farm's figures, counted in the database at every scrape."""

    def __init__(self, database: Database, policy: Policy) -> None:
        self._database = database
        self._figures = Figures(policy)
        self._turn = threading.Lock()
        self._question: Future[list[Metric]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: else registering would already count."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The figures; where the database does not answer in time, only that it does not."""
        try:
            families = self._asked().result(ANSWER_SECONDS)
        except (SQLAlchemyError, TimeoutError):
            families = []
        is_up = float(bool(families))
        yield GaugeMetricFamily("reprofarm_database_up", "Whether the database answered this scrape.", value=is_up)
        yield from families

    def _asked(self) -> Future[list[Metric]]:
        """What is asked for this scrape: scrapes that meet would each count the same, so there is one question at once.

        One that nobody waits for any more goes on: what it counts the next need not, and no second one waits beside it.
        """
        with self._turn:
            if self._question is None or self._question.done():
                self._question = Future()
                # No end of the process waits for it.
                threading.Thread(target=self._ask, args=(self._question,), name="metrics", daemon=True).start()
            return self._question

    def _ask(self, question: Future[list[Metric]]) -> None:
        try:
            with self._database.reading() as session:
                families = list(self._figures.families(session, now()))
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            question.set_exception(error)
        else:
            question.set_result(families)
