"""`python -m deploy.simulate`: a day with and without affinity, and rising arrivals until waiting explodes."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from deploy.bench.page import put_into
from deploy.simulate.arrivals import Day
from deploy.simulate.fleet import FLEET, Pool, smaller
from deploy.simulate.report import EXPLODED, AtRate, Figures, figures, knee, rates_table, ways_table
from deploy.simulate.run import simulate

CLAIMS = 20_000.0
"""A day at × 1: what the fleet bears with room to spare."""

RATES = (0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 3.0)
COMPARED_AT = 2.0


def rising(fleet: tuple[Pool, ...], claims: float, rates: tuple[float, ...], seed: int) -> list[AtRate]:
    """The day at each rate, up to the first past the knee."""
    found: list[AtRate] = []
    for rate in rates:
        submissions = Day(seed, claims * rate).submissions()
        farm = figures(simulate(fleet, submissions, affinity=True))
        alone = figures(simulate(fleet, submissions, affinity=False, alone=True))
        found.append(AtRate(rate, farm, alone))
        if knee(found) is not None:
            break
    return found


def ways(fleet: tuple[Pool, ...], claims: float, seed: int) -> dict[str, Figures]:
    """The same day, sent out in three ways."""
    submissions = Day(seed, claims).submissions()
    return {
        "the farm's way": figures(simulate(fleet, submissions, affinity=True)),
        "batches, but no affinity": figures(simulate(fleet, submissions, affinity=False)),
        "each by itself": figures(simulate(fleet, submissions, affinity=False, alone=True)),
    }


def main(arguments: list[str]) -> None:
    """Simulate and print; with `--page`, put it into the docs."""
    parser = argparse.ArgumentParser(prog="deploy.simulate", description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the fleet and of the arrivals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--page", type=Path, help="put the tables into this page")
    asked = parser.parse_args(arguments)
    fleet, claims = smaller(FLEET, asked.part), CLAIMS * asked.part
    beside = ways(fleet, claims * COMPARED_AT, asked.seed)
    found = rising(fleet, claims, RATES, asked.seed)
    past = knee(found)
    gpus = sum(pool.gpus for pool in fleet)
    ends = (
        f"Waiting explodes (p99 above {EXPLODED:.0f} times the least) at × {past:g}."
        if past is not None
        else f"Waiting did not explode up to × {found[-1].rate:g}."
    )
    text = (
        f"{gpus:,} GPUs in {len(fleet)} pools; × 1 is {claims:,.0f} claims a day, and releases beside them; seed"
        f" {asked.seed}.\n\nOne day at × {COMPARED_AT:g}, sent out in three ways:\n\n{ways_table(beside)}\n"
        f"Rising arrivals, the farm's way and each by itself:\n\n{rates_table(found)}\n{ends}\n"
    )
    sys.stdout.write(text)
    if asked.json:
        whole = {
            "gpus": gpus,
            "ways": {name: asdict(each) for name, each in beside.items()},
            "rates": [asdict(each) for each in found],
            "knee": past,
        }
        asked.json.write_text(json.dumps(whole, indent=2) + "\n")
    if asked.page:
        put_into(asked.page, "simulation", text)


if __name__ == "__main__":
    main(sys.argv[1:])
