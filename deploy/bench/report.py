"""What the measurements say, as lines of one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from deploy.bench.engine import EngineFigures, SideBySide
from deploy.bench.growth import Step
from deploy.bench.poll import PollCost, Reading
from deploy.bench.verdict_rate import Pace


@dataclass(frozen=True)
class Line:
    """One figure beside what it is held against."""

    what: str
    farm: str
    beside: str
    ratio: float
    aim: str
    """Empty where there is none."""

    met: bool | None
    """None where there is no aim."""


def of_engine(found: EngineFigures) -> Iterator[Line]:
    """The farm beside plain runs, and beside vLLM's own client."""
    farm = mean(each.farm.seconds for each in found.one)
    plain = [run for each in found.one for run in each.plain]
    beside, engine = mean(run.seconds for run in plain), mean(run.engine_seconds for run in plain)
    yield Line(
        f"one task of {plain[0].samples} samples, an engine's start on both sides",
        f"{farm:.1f} s",
        f"{beside:.1f} s, {engine:.1f} s of them for the engine",
        farm / beside,
        "≤ 1.05",
        farm / beside <= 1.05,
    )
    yield _together(found.every)
    yield _together(found.few)
    yield _tokens(found.one)
    yield _tokens([found.long])


def _together(found: SideBySide) -> Line:
    plain = sum(each.seconds for each in found.plain)
    asking = sum(each.asking_seconds for each in found.plain) / sum(each.engine_seconds for each in found.plain)
    ratio = found.farm.seconds / plain
    return Line(
        f"{len(found.plain)} tasks of {found.plain[0].samples} samples on one model, against as many plain runs",
        f"{found.farm.seconds:.1f} s",
        f"{plain:.1f} s; a run's questions take {asking:.2f} of its engine's start",
        ratio,
        "≤ 0.35",
        ratio <= 0.35,
    )


def _tokens(turns: Sequence[SideBySide]) -> Line:
    """Of each side as many as in all its turns, by the seconds of all."""
    plain = [run for each in turns for run in each.plain]
    tokens = sum(run.output_tokens for run in plain)
    farm = sum(each.farm.output_tokens for each in turns) / sum(each.farm.asking_seconds for each in turns)
    said = [run.client for run in plain if run.client is not None]
    beside = sum(each["total_output_tokens"] for each in said) / sum(each["duration"] for each in said)
    inspect = tokens / sum(run.asking_seconds for run in plain)
    return Line(
        f"output tokens per second, answers of {tokens / sum(run.samples for run in plain):.0f} tokens",
        f"{farm:.1f}",
        f"{beside:.1f} by vLLM's benchmark client ({inspect:.1f} by plain Inspect)",
        farm / beside,
        "≥ 0.95",
        farm / beside >= 0.95,
    )


def of_verdicts(found: dict[str, Pace]) -> Iterator[Line]:
    """Claims to verdicts, where runs take no time."""
    for name, pace in found.items():
        yield Line(
            f"claims to verdicts per second, runs that take no time: {name}",
            f"{pace.per_second:.0f}",
            f"{pace.bare_per_second:.0f} bare Celery tasks",
            pace.ratio,
            "≥ 0.5",
            pace.ratio >= 0.5,
        )


def of_poll(found: PollCost) -> Iterator[Line]:
    """A poll after few changes."""
    what = f"poll of {found.benchmarks} benchmarks × {found.results:,} results"
    for name, each in ((f"{found.changes} of them changed", found.changed), ("nothing changed", found.unchanged)):
        yield Line(
            f"{what}, {name}",
            _reading(each),
            f"{_reading(found.whole)} to read everything",
            each.seconds / found.whole.seconds,
            "",
            None,
        )


def _reading(found: Reading) -> str:
    return f"{found.total:,} requests, {found.seconds:.1f} s"


def of_growth(found: dict[int, Sequence[Step]]) -> Iterator[Line]:
    """Each step at the most claims, beside itself at the fewest."""
    few, many = min(found), max(found)
    for before, after in zip(found[few], found[many], strict=True):
        ratio = after.milliseconds / before.milliseconds
        yield Line(
            f"{before.name}: {many:,} claims against {few:,}",
            f"{after.milliseconds:.1f} ms",
            f"{before.milliseconds:.1f} ms",
            ratio,
            "flat",
            # What a machine's noise makes of two medians of few rounds, and of milliseconds.
            ratio <= 1.5 or after.milliseconds - before.milliseconds < 5,
        )


def table(lines: Sequence[Line]) -> str:
    """All of them, in Markdown."""
    rows = ["| measured | farm | beside | ratio | aim | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for each in lines:
        met = {True: "met", False: "not met", None: ""}[each.met]
        rows.append(f"| {each.what} | {each.farm} | {each.beside} | {each.ratio:.2f} | {each.aim} | {met} |")
    return "\n".join(rows) + "\n"
