"""How the demo ended: the table, and what is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from deploy.cli.claims import reproduced, status_of, written
from deploy.cli.terminal import shown
from deploy.demo.claims import DemoClaim
from deploy.demo.follow import find_claim
from specs.api_v1.claims import ClaimView

MAX_REASON_CHARS = 240
"""In the table; `reprofarm show` has all of it."""


def outcome_of(claim: ClaimView) -> str:
    """The one word for how a claim ended: its verdict, or its state where it has none."""
    return str(claim.verdict.outcome) if claim.verdict else claim.state


def reason_of(claim: ClaimView) -> str:
    """Why it ended so."""
    return claim.verdict.reason if claim.verdict else claim.reason


def print_table(out: Console, claims: Sequence[ClaimView], expected: Sequence[DemoClaim]) -> None:
    """One row for each submitted claim."""
    table = Table(title="What became of the claims", title_justify="left", title_style="bold", show_lines=True)
    table.add_column("claim", ratio=2)
    for heading in ("claimed", "reproduced ± s.e.", "samples", "tolerance"):
        table.add_column(heading, justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("reason", ratio=4, overflow="fold")
    for submitted in expected:
        claim = find_claim(claims, submitted)
        if claim is None:
            table.add_row(submitted.label, "–", "–", "–", "–", "not found", "")
            continue
        found = claim.verdict.comparison if claim.verdict else None
        table.add_row(
            submitted.label,
            written(claim),
            reproduced(claim),
            f"{found.samples_used} of {found.population}" if found else "–",
            f"{100 * found.tolerance:.2f} points" if found else "–",
            status_of(claim),
            shown(reason_of(claim), MAX_REASON_CHARS),
        )
    out.print(table)


def differences(claims: Sequence[ClaimView], expected: Sequence[DemoClaim]) -> list[str]:
    """What is not as expected, in sentences; empty where all is."""
    found = []
    for submitted in expected:
        claim = find_claim(claims, submitted)
        if claim is None:
            found.append(f"{submitted.label}: the farm has no such claim")
        elif outcome_of(claim) != submitted.ends:
            found.append(f"{submitted.label}: expected {submitted.ends}, found {outcome_of(claim)}: {reason_of(claim)}")
        else:
            found += [
                f"{submitted.label}: the reason does not say {words!r}: {reason_of(claim)}"
                for words in submitted.because
                if words.lower() not in reason_of(claim).lower()
            ]
    if len(claims) != len(expected):
        found.append(f"{len(expected)} claims were submitted, and the farm has {len(claims)}")
    return found
