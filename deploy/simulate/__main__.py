"""`python -m deploy.simulate`: a day sent out in several ways, under several conditions, and with rising arrivals."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from deploy.bench.page import put_into
from deploy.simulate.arrivals import Day
from deploy.simulate.claims import FALSE
from deploy.simulate.conditions import Conditions
from deploy.simulate.fleet import FLEET, Pool, smaller
from deploy.simulate.report import (
    EXPLODED,
    AtRate,
    Figures,
    claims_table,
    conditions_table,
    false_table,
    figures,
    knee,
    rates_table,
    ways_table,
)
from deploy.simulate.run import simulate

CLAIMS = 20_000.0
"""A day at × 1: what the fleet bears with room to spare."""

RATES = (0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5)
COMPARED_AT = 2.5

ALONE = Conditions(affinity=False, alone=True)
FARMS = "the farm's way"
WAYS = {FARMS: Conditions(), "batches, but no affinity": Conditions(affinity=False), "each by itself": ALONE}

LOST_A_DAY = 1.0
"""Of each worker: many more than of machines of one's own, as of spot machines at a busy time; assumed."""

BESIDES = {
    "nothing": Conditions(),
    "engines sleep in the host's memory": Conditions(sleep=True),
    "weights come from the Hub": Conditions(downloads=True, fetch_ahead=False),
    "weights come from the Hub, fetched ahead": Conditions(downloads=True),
    "the same, a pool's workers share a disk": Conditions(downloads=True, shared_disks=True),
    "each worker is lost once a day": Conditions(losses_a_day=LOST_A_DAY),
    "all of these": Conditions(sleep=True, downloads=True, shared_disks=True, losses_a_day=LOST_A_DAY),
}


MORE_FALSE = 0.3


def by_what_is_false(fleet: tuple[Pool, ...], claims: float, seed: int, usual: Figures) -> dict[str, Figures]:
    """The day by how much of what is claimed is false."""

    def of(false: float) -> Figures:
        return figures(simulate(fleet, Day(seed, claims, false).submissions(), Conditions()))

    return {"none": of(0.0), f"{FALSE:.0%}, as elsewhere here": usual, f"{MORE_FALSE:.0%}": of(MORE_FALSE)}


def rising(fleet: tuple[Pool, ...], claims: float, rates: tuple[float, ...], seed: int) -> list[AtRate]:
    """The day at each rate, up to the first past the knee."""
    found: list[AtRate] = []
    for rate in rates:
        submissions = Day(seed, claims * rate).submissions()
        farm, alone = (figures(simulate(fleet, submissions, each)) for each in (Conditions(), ALONE))
        found.append(AtRate(rate, farm, alone))
        if knee(found) is not None:
            break
    return found


def under(conditions: Mapping[str, Conditions], fleet: tuple[Pool, ...], day: Day) -> dict[str, Figures]:
    """A day, under each of several conditions."""
    submissions = day.submissions()
    return {name: figures(simulate(fleet, submissions, each)) for name, each in conditions.items()}


def main(arguments: list[str]) -> None:
    """Simulate and print; with `--page`, put it into the docs."""
    parser = argparse.ArgumentParser(prog="deploy.simulate", description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the fleet and of the arrivals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--page", type=Path, help="put the tables into this page")
    asked = parser.parse_args(arguments)
    fleet, claims = smaller(FLEET, asked.part), CLAIMS * asked.part
    ways = under(WAYS, fleet, Day(asked.seed, claims * COMPARED_AT))
    besides = under(BESIDES, fleet, Day(asked.seed, claims * COMPARED_AT))
    false = by_what_is_false(fleet, claims * COMPARED_AT, asked.seed, ways[FARMS])
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
        f" {asked.seed}.\n\nOne day at × {COMPARED_AT:g}, sent out in three ways:\n\n{ways_table(ways)}\n"
        f"The same day in the farm's way, and what else may happen:\n\n{conditions_table(besides)}\n"
        f"What became of that day's claims:\n\n{claims_table(ways[FARMS])}\n"
        f"The same day, by how much of what is claimed is false:\n\n{false_table(false)}\n"
        f"Rising arrivals, the farm's way and each by itself:\n\n{rates_table(found)}\n{ends}\n"
    )
    sys.stdout.write(text)
    if asked.json:
        whole = {
            "gpus": gpus,
            "ways": {name: asdict(each) for name, each in ways.items()},
            "besides": {name: asdict(each) for name, each in besides.items()},
            "false": {name: asdict(each) for name, each in false.items()},
            "rates": [asdict(each) for each in found],
            "knee": past,
        }
        asked.json.write_text(json.dumps(whole, indent=2) + "\n")
    if asked.page:
        put_into(asked.page, "simulation", text)


if __name__ == "__main__":
    main(sys.argv[1:])
