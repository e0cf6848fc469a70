"""`reprofarm show`: one claim or reproduction, with all that happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.cli.claims import STYLES, benchmark_of, status_of, written
from deploy.cli.ids import claim_or_reproduction
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, Target, VarOfApi, farm_at
from deploy.cli.terminal import (
    MAX_REASON_CHARS,
    MISMATCH,
    OK,
    UNDECIDED,
    ago,
    console,
    pairs,
    percent,
    points,
    print_json,
    shown,
)
from deploy.client import FarmClient
from specs.api_v1.badges import BadgeView
from specs.api_v1.claims import ClaimView
from specs.api_v1.events import EventView
from specs.api_v1.reproductions import AttemptView, MeasurementView, ReproductionView
from specs.attestation import MAX_TOKEN_CHARS
from specs.judging.samples_in_words import why_fewer_decided
from specs.judging.verdict import Comparison, Outcome
from specs.policy.generation import EffectiveGeneration

MAX_EVENTS = 40
"""Of a timeline, the last; JSON has them all."""


def show(
    target: Target,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """Show one claim or reproduction: how it stands and why, how it ran, and its history.

    Exit code of a claim: 0 verified, 1 mismatch, 2 not decided (inconclusive, unsupported, failed or rejected, and also
    a claim that is still open); of a reproduction: 0 completed, 2 not; 3 error. With --json: {"claim": …, "events": …,
    "badge": … or null, "reproduction": … or null}; of a reproduction, "claim" and "badge" are null.
    """
    with farm_at(api, var) as farm:
        claim: ClaimView | None
        run: ReproductionView | None
        claim, run = claim_or_reproduction(
            target, lambda: (farm.claim(target), None), lambda: (None, farm.reproduction(target))
        )
        if claim is not None and claim.reproduction:
            run = farm.reproduction(claim.reproduction.id)
        badge = farm.badge_of(claim.id) if claim is not None and claim.badge else None
        events = farm.timeline(claim.id).items if claim is not None else _history(farm, run)
    if as_json:
        print_json({"claim": claim, "events": events, "badge": badge, "reproduction": run})
    elif claim is not None:
        _print(console(), claim, run, events, badge)
    elif run is not None:
        _print_alone(console(), run, events)
    if claim is not None:
        raise typer.Exit(exit_code(claim))
    raise typer.Exit(OK if run is not None and run.state == "completed" else UNDECIDED)


def _history(farm: FarmClient, run: ReproductionView | None) -> tuple[EventView, ...]:
    return farm.timeline_of_reproduction(run.id).items if run is not None else ()


def exit_code(claim: ClaimView) -> int:
    """What a script is told of a claim."""
    outcome = claim.verdict.outcome if claim.verdict else None
    return {Outcome.VERIFIED: OK, Outcome.MISMATCH: MISMATCH}.get(outcome, UNDECIDED) if outcome else UNDECIDED


def _print(
    out: Console,
    claim: ClaimView,
    run: ReproductionView | None,
    events: Sequence[EventView],
    badge: BadgeView | None,
) -> None:
    out.print(
        Text.assemble(
            status_of(claim),
            "  ",
            shown(claim.model, style="bold"),
            "  ",
            shown(benchmark_of(claim.dataset, claim.task) or "a benchmark that could not be read"),
        )
    )
    out.print(pairs(_facts(claim)))
    if run:
        _print_run(out, run)
    if claim.verdict and claim.verdict.comparison:
        out.print("\nComparison", style="bold")
        out.print(pairs(_compared(claim.verdict.comparison, run.measurement if run else None)))
    if claim.verdict and claim.verdict.likely_reasons:
        out.print("\nLikely reasons", style="bold")
        out.print(pairs([(f"{n}.", shown(why, 1000)) for n, why in enumerate(claim.verdict.likely_reasons, start=1)]))
    if run:
        _print_how_it_ran(out, run)
    if badge:
        _print_badge(out, badge)
    if events:
        _print_timeline(out, events)
    out.print("\nNext", style="bold")
    out.print(Padding(shown(claim.next_step, 2000), (0, 0, 0, 2)))


def _print_alone(out: Console, run: ReproductionView, events: Sequence[EventView]) -> None:
    """A run by itself, whatever claims it judges."""
    state, benchmark = Text(run.state, STYLES.get(run.state, "cyan")), shown(benchmark_of(run.dataset, run.task))
    out.print(Text.assemble(state, "  ", shown(run.model, style="bold"), "  ", benchmark))
    _print_run(out, run, ("judges", "\n".join(f"claim {claim}" for claim in run.claims) or "no claim any more"))
    if run.attempts:
        out.print("\nAttempts", style="bold")
        out.print(pairs((f"{attempt.number}", _attempted(attempt)) for attempt in run.attempts))
    if run.measurement:
        out.print("\nMeasured", style="bold")
        out.print(pairs(_measured(run.measurement)))
    _print_how_it_ran(out, run)
    if events:
        _print_timeline(out, events)


def _attempted(attempt: AttemptView) -> Text:
    doing = attempt.outcome or attempt.stage or "sent to a worker"
    where = f", on {attempt.worker}" if attempt.worker else ""
    done = "" if attempt.samples_total is None else f", {attempt.samples_done} of {attempt.samples_total} samples"
    why = f": {attempt.detail}" if attempt.detail else ""
    return shown(f"{doing.replace('_', ' ')}{where}{done}{why}", MAX_REASON_CHARS)


def _measured(found: MeasurementView) -> Iterator[tuple[str, Text | str]]:
    error = "" if found.standard_error is None else f" ± {100 * found.standard_error:.2f} (standard error)"
    yield "score", percent(found.score) + error
    yield "samples", f"{found.samples_used} of {found.population}"
    for what, count in (("truncated", found.truncated), ("unparsed", found.unparsed), ("failed", found.failed)):
        if count:
            yield what, str(count)


def _print_how_it_ran(out: Console, run: ReproductionView) -> None:
    if run.measurement:
        out.print("\nHow it ran", style="bold")
        out.print(pairs(_how_it_ran(run.measurement)))
    if run.repeat_command:
        out.print("\nRepeat this run, on all samples", style="bold")
        # Unbroken, like the token: it is there to be copied.
        for line in run.repeat_command.splitlines():
            out.print("    " if line.startswith(" ") else "  ", shown(line, 4000), sep="", soft_wrap=True)
    if run.not_repeatable:
        out.print("\nRepeat this run", style="bold")
        out.print("  ", shown(run.not_repeatable, 4000), sep="")


def _facts(claim: ClaimView) -> Iterator[tuple[str, Text | str]]:
    yield "claim", claim.id
    as_written = "" if claim.value is None or claim.claimed is None else f"  (written {claim.value:g})"
    yield "claimed", written(claim) + as_written
    where = f"{claim.path}, entry {claim.entry + 1}, on {claim.ref} at {claim.commit[:12]}"
    yield "stands in", shown(where, 700)
    if claim.submitter:
        yield "submitted by", shown(claim.submitter)
    if claim.notes:
        yield "notes", shown(claim.notes, 1000)
    if claim.source_url:
        yield "source", shown(claim.source_url, 2000)
    for warning in claim.warnings:
        yield "warning", shown(warning, 1000, style="yellow")
    yield "state", Text.assemble(claim.state, f" for {ago(claim.since)}")
    yield "because", shown(claim.verdict.reason if claim.verdict else claim.reason, MAX_REASON_CHARS)
    if claim.stale_reason:
        yield "stale", shown(claim.stale_reason, 1000, style="yellow")
    for name, other in (("supersedes", claim.supersedes), ("superseded by", claim.superseded_by)):
        if other:
            yield name, f"claim {other}, the same entry"
    if claim.publication:
        published = f"{claim.publication.state} {claim.publication.url or ''} {claim.publication.reason}"
        yield "on the Hub", shown(published, 1600)


def _print_run(out: Console, run: ReproductionView, *more: tuple[str, Text | str]) -> None:
    out.print("\nReproduction", style="bold")
    out.print(pairs([*_run_facts(run), *more]))
    if run.state == "running" and run.samples_total:
        bar = ProgressBar(total=run.samples_total, completed=run.samples_done, width=40)
        line = Table.grid(padding=(0, 1))
        line.add_row("  samples", bar, f"{run.samples_done} of {run.samples_total}")
        out.print(line)


def _run_facts(run: ReproductionView) -> Iterator[tuple[str, Text | str]]:
    yield "id", run.id
    yield "state", f"{run.state} for {ago(run.since)}"
    yield "because", shown(run.reason, MAX_REASON_CHARS)
    if run.waits_for is not None:
        yield "waits for", shown(run.waits_for, 600)
    yield "pool", shown(run.pool)
    if run.attempt:
        stage = f": {run.stage}" if run.stage and run.state == "running" else ""
        yield "attempt", shown(f"{run.attempt}{stage}" + (f", on {run.worker}" if run.worker else ""))
    if run.state == "running" and run.score is not None:
        yield "score so far", percent(run.score)
    yield "model", f"at {run.model_revision}"
    yield "benchmark", f"at {run.dataset_revision}"
    yield "eval.yaml", f"SHA-256 {run.spec_sha256}"
    if run.seed is not None:
        yield "seed", str(run.seed)
    if run.evidence_url:
        yield "evidence", shown(run.evidence_url, 2000)


def _compared(found: Comparison, measured: MeasurementView | None) -> Iterator[tuple[str, Text | str]]:
    yield "claimed", percent(found.claimed)
    error = "" if found.standard_error is None else f" ± {100 * found.standard_error:.2f} (standard error)"
    yield "reproduced", percent(found.reproduced) + error
    if found.reproduced is not None:
        yield "difference", f"{100 * (found.reproduced - found.claimed):+.2f} points"
    yield "tolerance", points(found.tolerance)
    stopped = "; all would have been run" if found.mode == "full" else "; stops when the answer is sure"
    yield "samples", f"{found.samples_used} of {found.population}{stopped}"
    fewer = measured and why_fewer_decided(found, measured.samples_used + measured.failed, measured.ignored)
    if fewer:
        yield "", fewer
    if found.interval and found.interval.low < found.interval.high:
        yield (
            "all samples",
            f"would give {percent(found.interval.low)} to {percent(found.interval.high)} (alpha {found.alpha:g})",
        )
    if found.doubtful_beyond is not None:
        yield (
            "doubtful",
            f"up to {points(found.doubtful_beyond)}, which honest runs of {found.population} samples may differ by",
        )
    for what, count in (("truncated", found.truncated), ("unparsed", found.unparsed), ("failed", found.failed)):
        if count:
            yield what, str(count)
    if found.linked_log:
        used = "used as predictions" if found.linked_log.used else "not used"
        style = "yellow" if found.linked_log.suspicious else ""
        yield "linked log", shown(f"{used}: {found.linked_log.reason}", 2500, style=style)


def _how_it_ran(found: MeasurementView) -> Iterator[tuple[str, Text | str]]:
    ran = found.circumstances
    yield "scorer", shown(found.scorer)
    yield "hardware", shown(ran.hardware, 700)
    yield "versions", shown(", ".join(f"{name} {version}" for name, version in sorted(ran.versions.items())), 1000)
    yield "sampling", shown(", ".join(_sampling(ran.generation)), 1000)
    yield "epochs", str(ran.epochs)
    yield "template", f"SHA-256 {ran.chat_template_sha256}" if ran.chat_template_sha256 else "none"
    yield "engine", shown(" ".join(ran.engine_arguments), 2000)
    if ran.batch_invariant:
        yield "kernels", "batch-invariant"
    for name, judge in sorted(ran.judges.items()):
        yield "judge", shown(f"{name}: {judge}", 700)


def _sampling(found: EffectiveGeneration) -> Iterator[str]:
    for name, value in found.model_dump(exclude={"sources"}).items():
        source = found.sources.get(name)
        if value is not None:
            yield f"{name} {value}" + (f" ({source.replace('_', ' ')})" if source else "")


def _print_badge(out: Console, badge: BadgeView) -> None:
    out.print("\nBadge", style="bold")
    rows: list[tuple[str, Text | str]] = [("id", badge.id), ("signed", f"{badge.signed_at:%Y-%m-%d %H:%M} UTC")]
    if badge.stale_reason:
        rows.append(("stale", shown(badge.stale_reason, 1000, style="yellow")))
    if badge.revocation:
        rows.append(("revoked", shown(badge.revocation.reason, 1000, style="red")))
    out.print(pairs(rows))
    out.print("  token, to be checked with `reprofarm verify-token`:")
    # One unbroken line: it is there to be copied.
    out.print(shown(badge.token, MAX_TOKEN_CHARS), soft_wrap=True)


def _print_timeline(out: Console, events: Sequence[EventView]) -> None:
    out.print("\nTimeline", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if len(events) > MAX_EVENTS:
        out.print(f"  {len(events) - MAX_EVENTS} earlier events are left out", style="dim")
    for event in events[-MAX_EVENTS:]:
        table.add_row(
            f"  {event.at:%Y-%m-%d %H:%M:%S}",
            Text.assemble(shown(event.subject, 20, style="dim"), " ", shown(event.what, 50)),
            shown(event.actor, 40, style="dim"),
            shown(event.why),
        )
    out.print(table)
