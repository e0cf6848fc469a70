"""How a database would look for what statements ask: caught while they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from scheduler.database.session import Database

NO_SEQUENTIAL_SCANS = "&options=-c%20enable_seqscan%3Doff"
"""For PostgreSQL's address: a small table is scanned only where no index fits, as a large one would be."""

OF_FEW = frozenset(
    {
        "badge_revoked",
        "claim_awaiting",
        "claim_by_recheck",
        "claim_by_staleness",
        "outbox_unsent",
        "reproduction_by_engine",
        "webhook_delivery_waiting",
    }
)
"""Indexes of those rows alone that wait for something: to go through one is the point of it."""


@dataclass
class Scans:
    """Statements for which a whole table is gone through, by table."""

    tables: frozenset[str]
    found: list[tuple[str, str]] = field(default_factory=list)
    explained: int = 0


@contextmanager
def watching(database: Database, tables: frozenset[str]) -> Iterator[Scans]:
    """Explain each statement before it is executed; note those that go through the whole of one of `tables`."""
    scans = Scans(tables)

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")) or isinstance(parameters, list):
            return
        scans.explained += 1
        plan = _sqlite_plan if database.is_sqlite else _postgres_plan
        raw = cursor.connection.cursor()
        scans.found += [(table, statement) for table in plan(raw, statement, parameters) if table in tables]
        raw.close()

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield scans
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


def _sqlite_plan(cursor: Any, statement: str, parameters: Any) -> Iterator[str]:
    # https://sqlite.org/eqp.html: SEARCH goes to a part of a table or index, SCAN through all of it.
    lines = [row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]
    sorts = any(line.startswith("USE TEMP B-TREE") for line in lines)
    # In an order that is there already and up to a limit, with nothing to be left out, it ends after so many.
    bounded = "LIMIT" in statement and "WHERE" not in statement and not sorts
    for line in lines:
        words = line.split(" ")
        if words[0] == "SCAN" and not bounded and words[-1] not in OF_FEW:
            # An alias is the table's name with a number.
            yield words[1].rstrip("_0123456789")


def _postgres_plan(cursor: Any, statement: str, parameters: Any) -> Iterator[str]:
    (plan,) = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchone()
    yield from _scanned((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], limited=False)


def _scanned(node: dict[str, Any], *, limited: bool) -> Iterator[str]:
    kind = node["Node Type"]
    by_index = "Index Cond" in node or node.get("Index Name") in OF_FEW
    # In the order of an index and up to a limit, with nothing to be left out, it ends after so many.
    bounded = limited and kind != "Seq Scan" and "Filter" not in node
    if "Relation Name" in node and kind not in {"ModifyTable", "Bitmap Heap Scan"} and not by_index and not bounded:
        yield node["Relation Name"]
    for each in node.get("Plans", ()):
        yield from _scanned(each, limited=kind in {"Limit", "LockRows"} and (limited or kind == "Limit"))
