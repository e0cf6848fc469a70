"""`python -m deploy.bench`: the farm's figures, each beside what it is held against, on this machine and in one run.

Parts: `verdicts` (claims to verdicts), `poll` (of the Hub), `growth` (of the database; wants PostgreSQL), `engine`
(real vLLM and the real small model; the longest).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
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
    parser.add_argument("--page", type=Path, help="put each part's table into its place in this page, but for --small")
    asked = parser.parse_args(arguments)
    where = f"{hardware(0)}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}{_commit()}"
    lines: list[Line] = []
    seconds = {}
    for part in asked.parts:
        sys.stderr.write(f"reprofarm: measuring {part}\n")
        began = time.monotonic()
        found = list(PARTS[part](SMALL if asked.small else WHOLE))
        seconds[part] = round(time.monotonic() - began)
        lines += found
        text = f"{where}; took {seconds[part]} s.\n\n{table(found)}"
        sys.stdout.write(f"{part}: {text}\n")
        if asked.page and not asked.small:
            put_into(asked.page, part, text)
    if asked.json:
        whole = {"where": where, "versions": versions(), "seconds": seconds, "lines": [asdict(each) for each in lines]}
        asked.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def _commit() -> str:
    """Of what is measured; empty outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return f", commit {subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main(sys.argv[1:])
