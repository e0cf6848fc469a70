"""`python -m deploy.bench`: the farm's figures, each beside what it is held against, on this machine and in one run.

Parts: `verdicts` (claims to verdicts), `poll` (of the Hub), `growth` (of the database; wants PostgreSQL), `engine`
(real vLLM and the real small model; the longest).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.bench.engine import engine_figures
from deploy.bench.growth import growth
from deploy.bench.page import put_into
from deploy.bench.poll import poll_cost
from deploy.bench.report import Line, of_engine, of_growth, of_poll, of_verdicts, table
from deploy.bench.verdict_rate import paces
from workers.runs.circumstances import hardware, versions


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    runs: int
    bare_tasks: int
    benchmarks: int
    results: int
    changes: int
    database: tuple[int, ...]
    tasks: int
    turns: int


WHOLE = Size(600, 3000, 100, 1000, 10, (1000, 1_000_000), 4, 3)
SMALL = Size(40, 200, 4, 20, 2, (1000, 2000), 1, 1)
"""Says whether it works, and nothing of how fast."""

PARTS: dict[str, Callable[[Size], Iterator[Line]]] = {
    "verdicts": lambda size: of_verdicts(paces(size.runs, size.bare_tasks)),
    "poll": lambda size: of_poll(poll_cost(size.benchmarks, size.results, size.changes)),
    "growth": lambda size: of_growth(dict(growth(size.database))),
    "engine": lambda size: of_engine(engine_figures(size.tasks, size.turns)),
}


def main(arguments: list[str]) -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(prog="deploy.bench", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--small", action="store_true", help="only see that it works")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--page", type=Path, help="put the table into this page")
    asked = parser.parse_args(arguments)
    lines: list[Line] = []
    seconds = {}
    for part in asked.parts:
        sys.stderr.write(f"reprofarm: measuring {part}\n")
        began = time.monotonic()
        lines += PARTS[part](SMALL if asked.small else WHOLE)
        seconds[part] = round(time.monotonic() - began)
    where = f"{hardware(0)}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    took = ", ".join(f"{part} {spent} s" for part, spent in seconds.items())
    text = f"{where}; took {took}.\n\n{table(lines)}"
    sys.stdout.write(text)
    if asked.json:
        whole = {"where": where, "versions": versions(), "seconds": seconds, "lines": [asdict(each) for each in lines]}
        asked.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    if asked.page:
        put_into(asked.page, "figures", text)


if __name__ == "__main__":
    main(sys.argv[1:])
