"""`make plots`: the pictures in docs/images, from seeded runs of the code that the farm runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from deploy.cli.terminal import console
from specs.judging.power import simulated
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping_rule import ClaimedScore, StoppingRule

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
POPULATION, RIGHT, TOLERANCE, ALPHA = 12_032, 5054, 0.02, 0.001
"""As large as MMLU-Pro, with 42 % right."""

SEED = 6
LOOKS = 240
COLOURS = {"verified": "#1a7f37", "mismatch": "#cf222e"}


def main() -> int:
    """Write the pictures."""
    # The same bytes from the same run, so that a change in a picture is a change in what it shows.
    mpl.rcParams.update({"svg.hashsalt": "reprofarm", "font.size": 10, "axes.spines.top": False})
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in (("closing", _closing), ("cost", _cost)):
        figure = draw()
        path = IMAGES / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        console().print(f"wrote {path}")
    return 0


def _rule(claimed: float) -> StoppingRule:
    return StoppingRule(
        claims=(ClaimedScore(claimed=claimed, tolerance=TOLERANCE),),
        population=POPULATION,
        alpha=ALPHA,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
    )


def _closing() -> Any:
    """What is known of the full run's score as samples come in, for a true claim and for one five points too high."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    truth = RIGHT / POPULATION
    for panel, claimed in zip(panels, (truth, truth + 0.05), strict=True):
        _draw_run(panel, claimed)
    panels[0].set_title("A true claim", loc="left")
    panels[1].set_title("A claim 5 points too high", loc="left")
    panels[0].set_ylabel("full run's score")
    panels[1].legend(loc="upper right", frameon=False)
    figure.tight_layout()
    return figure


def _draw_run(panel: Any, claimed: float) -> None:
    scores = np.zeros(POPULATION)
    scores[:RIGHT] = 1
    scores = np.random.default_rng(SEED).permutation(scores)
    decider = SequentialDecider(_rule(claimed))
    seen, low, high = [], [], []
    for start in range(0, POPULATION, POPULATION // LOOKS):
        stopped = decider.feed(scores[start : start + POPULATION // LOOKS].tolist())
        (found,) = decider.findings()
        seen.append(decider.seen)
        low.append(found.interval.low)
        high.append(found.interval.high)
        if stopped:
            break
    colour = COLOURS[found.decision]
    panel.axhspan(claimed - TOLERANCE, claimed + TOLERANCE, color="#0969da", alpha=0.15, lw=0, label="tolerance band")
    panel.fill_between(seen, low, high, color="#57606a", alpha=0.35, lw=0, label="what the score can still be")
    panel.axhline(RIGHT / POPULATION, color="black", lw=0.8, ls=":", label="the full run's score")
    panel.plot([seen[-1]] * 2, [low[-1], high[-1]], color=colour, lw=3, solid_capstyle="butt")
    said = f"{found.decision} after {seen[-1]:,} of {POPULATION:,}"
    panel.annotate(said, (seen[-1], low[-1]), xytext=(6, -12), textcoords="offset points", color=colour)
    panel.set_xlim(0, POPULATION)
    panel.set_ylim(0.25, 0.65)
    panel.set_xlabel("samples")
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _cost() -> Any:
    """How many samples a verdict takes, by how far the claim is from the truth."""
    figure, panel = plt.subplots(figsize=(6, 3.4))
    truth = RIGHT / POPULATION
    offs = np.concatenate([np.arange(0, 0.05, 0.0025), np.arange(0.05, 0.305, 0.01)])
    shares = [simulated(_rule(truth + off), (truth,))[0].mean_samples / POPULATION for off in offs]
    panel.axvspan(0, TOLERANCE, color="#0969da", alpha=0.15, lw=0, label="within the tolerance")
    panel.plot(offs, shares, color="#24292f")
    panel.set_xlabel("points by which the claim exceeds the full run's score")
    panel.set_ylabel("samples used, on average")
    panel.set_xlim(0, 0.3)
    panel.set_ylim(0, 1)
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.legend(frameon=False)
    return figure


if __name__ == "__main__":
    sys.exit(main())
