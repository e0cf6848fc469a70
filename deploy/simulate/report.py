"""What simulated days came to, and at how many arrivals waiting explodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.simulate.arrivals import DAY, Submission
from deploy.simulate.judged import judged
from deploy.simulate.run import DayOutcome, Decided
from deploy.simulate.worker import Doing
from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY, PERIODIC_PRIORITY, REQUESTED_PRIORITY
from specs.judging.verdict import Outcome

WHO = {
    REQUESTED_PRIORITY: "asked for",
    AUTHOR_PRIORITY: "authors'",
    COMMUNITY_PRIORITY: "the community's",
    PERIODIC_PRIORITY: "periodic",
}

FALSE_BY = {"less than 5 points too high": 0.05, "5 to 15": 0.15, "15 to 30": 0.3, "30 or more": 1.1}
"""Kinds of false claims, and below how much they are off: a proportion."""

HONEST, FALSE = "honest", "false"
JUDGED = (Outcome.VERIFIED, Outcome.INCONCLUSIVE, Outcome.MISMATCH)

EXPLODED = 10.0
"""Times the waiting of the fewest arrivals: what lies beyond is past the knee."""


@dataclass(frozen=True)
class Became:
    """What became of the claims of one kind."""

    claims: int
    """That have a verdict."""

    verdicts: dict[Outcome, int]
    alone: float
    """Of the samples of its task, what a run for such a claim alone takes on average, where it may stop early."""

    def part(self, outcome: Outcome) -> float:
        """Of them."""
        return self.verdicts[outcome] / max(self.claims, 1)


@dataclass(frozen=True)
class Figures:
    """Of one day."""

    claims: int
    verdicts: int
    became: dict[str, Became]
    """By kind of claim."""

    answered_at_once: int
    """Claims."""

    runs: int
    """That ended."""

    every_sample: int
    """Of those, as they were not the first."""

    asked: float
    """Of all the answers that these runs would take without an early stop."""

    utilisation: float
    """Part of all GPU-seconds in which runs asked."""

    loading: float
    """Part of all GPU-seconds in which engines came up, or were waited for."""

    busiest: tuple[str, float]
    """The pool with the most of both, and how much."""

    loads_per_verdict: float
    wakes_per_verdict: float
    held_per_verdict: dict[str, float]
    """GPU-seconds, by what they are held for."""

    losses: int
    """Of workers."""

    failed: int
    """Claims whose run was lost too often."""

    fullest_disk: int
    """Bytes of weights on one at the end of the day, or of its worker; what was there in the morning is not counted."""

    waited: dict[int, tuple[float, float]]
    """By priority: seconds until the run began on a loaded engine, p50 and p99."""

    took: dict[int, tuple[float, float]]
    """By priority: seconds until the verdict, p50 and p99."""

    p99_waited: float
    """Of all claims together, seconds."""


@dataclass(frozen=True)
class AtRate:
    """The same day at one rate of arrivals, sent out in two ways."""

    rate: float
    farm: Figures
    alone: Figures
    """Each reproduction by itself, to whoever is free."""


def figures(outcome: DayOutcome) -> Figures:
    """Sum a day up."""
    gpus = sum(state.pool.gpus for state in outcome.pools)
    verdicts = len(outcome.decided)
    asked = sum((run.samples or 0.0) * run.task.epochs for run in outcome.runs)
    at_most = sum(run.task.samples * run.task.epochs for run in outcome.runs)

    held = {doing: sum(state.held[doing] * state.pool.rules.gpus for state in outcome.pools) for doing in Doing}
    busy = {state.pool.rules.name: sum(state.held.values()) / state.pool.workers / DAY for state in outcome.pools}
    busiest = max(busy, key=lambda name: busy[name])
    waited = [seconds for each in outcome.waited.values() for seconds in each]
    return Figures(
        claims=len(waited) + outcome.answered_at_once + outcome.refused,
        verdicts=verdicts,
        became={kind: _became(outcome.decided, kind) for kind in (HONEST, FALSE, *FALSE_BY)},
        answered_at_once=outcome.answered_at_once,
        runs=len(outcome.runs),
        every_sample=sum(run.every_sample for run in outcome.runs),
        asked=asked / max(at_most, 1),
        utilisation=held[Doing.RUNNING] / gpus / DAY,
        loading=(sum(held.values()) - held[Doing.RUNNING]) / gpus / DAY,
        busiest=(busiest, busy[busiest]),
        loads_per_verdict=sum(state.loads for state in outcome.pools) / max(verdicts, 1),
        wakes_per_verdict=sum(state.wakes for state in outcome.pools) / max(verdicts, 1),
        held_per_verdict={doing: seconds / max(verdicts, 1) for doing, seconds in held.items()},
        losses=sum(state.losses for state in outcome.pools),
        failed=outcome.failed,
        fullest_disk=max(disk.used_bytes for state in outcome.pools for disk in state.disks),
        waited={priority: _p50_p99(each) for priority, each in sorted(outcome.waited.items())},
        took={priority: _p50_p99(each) for priority, each in sorted(outcome.took.items())},
        p99_waited=_p50_p99(waited)[1],
    )


def _became(decided: Sequence[Decided], kind: str) -> Became:
    found = [each for each in decided if kind in _kinds(each.claim)]
    alone = [_alone(each.claim) for each in found]
    return Became(
        claims=len(found),
        verdicts={outcome: sum(each.outcome is outcome for each in found) for outcome in JUDGED},
        alone=sum(alone) / max(len(alone), 1),
    )


def _kinds(claim: Submission) -> tuple[str, ...]:
    if not claim.is_false:
        return (HONEST,)
    off = claim.claimed - claim.score
    return (FALSE, next(kind for kind, below in FALSE_BY.items() if off < below))


def _alone(claim: Submission) -> float:
    samples = judged(claim.task, claim.claimed, claim.score).samples
    return sum(samples) / len(samples) / claim.task.samples


def knee(found: Sequence[AtRate]) -> float | None:
    """The first of rising rates at which p99 waiting is `EXPLODED` times that at the lowest; None where at none."""
    least = found[0].farm.p99_waited
    return next((each.rate for each in found if each.farm.p99_waited > EXPLODED * least), None)


def _p50_p99(seconds: Sequence[float]) -> tuple[float, float]:
    if not seconds:
        return 0.0, 0.0
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]


def claims_table(found: Figures) -> str:
    """What became of claims, by how far off they are; in Markdown."""
    lines = [
        "| claims | of all | verified | inconclusive | mismatch | of the samples, if run alone and first |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in (HONEST, *FALSE_BY):
        became = found.became[kind]
        parts = " | ".join(f"{became.part(outcome):.1%}" for outcome in JUDGED) if became.claims else "– | – | –"
        alone = f"{became.alone:.0%}" if became.claims else "–"
        name = kind if kind == HONEST else f"false, {kind}"
        lines.append(f"| {name} | {became.claims / found.verdicts:.1%} | {parts} | {alone} |")
    return "\n".join(lines) + "\n"


def false_table(found: dict[str, Figures]) -> str:
    """The same day by how much of what is claimed is false; in Markdown."""
    lines = [
        "| claims that are false | GPU-seconds asking per verdict | utilisation | of the samples of what was run "
        "| runs of every sample, as second ones | claims answered at once | honest: verified | mismatch "
        "| false: verified | mismatch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, each in found.items():
        parts = " | ".join(
            f"{each.became[kind].part(outcome):.1%}" if each.became[kind].claims else "–"
            for kind in (HONEST, FALSE)
            for outcome in (Outcome.VERIFIED, Outcome.MISMATCH)
        )
        lines.append(
            f"| {name} | {each.held_per_verdict[Doing.RUNNING]:,.0f} | {each.utilisation:.1%} | {each.asked:.0%} | "
            f"{each.every_sample / max(each.runs, 1):.1%} | {each.answered_at_once / max(each.verdicts, 1):.1%} | "
            f"{parts} |"
        )
    return "\n".join(lines) + "\n"


def ways_table(ways: dict[str, Figures]) -> str:
    """Ways to send out the same day, beside one another; in Markdown."""
    lines = [
        "| | utilisation | loading | engine loads per verdict | wait p50 / p99 of "
        + " | of ".join(WHO.values())
        + " | until the verdict, p50 / p99, authors' |",
        "| --- | ---: | ---: | ---: | " + " | ".join(["---:"] * len(WHO)) + " | ---: |",
    ]
    for name, each in ways.items():
        waits = " | ".join(_in_words(each.waited.get(priority)) for priority in WHO)
        lines.append(
            f"| {name} | {each.utilisation:.1%} | {each.loading:.1%} | {each.loads_per_verdict:.2f} | {waits} | "
            f"{_in_words(each.took.get(AUTHOR_PRIORITY))} |"
        )
    return "\n".join(lines) + "\n"


def conditions_table(found: dict[str, Figures]) -> str:
    """The same day under several conditions; in Markdown."""
    lines = [
        "| simulated besides | engine loads per verdict | wakes | GPU-seconds per verdict: asking | engines coming up "
        "| waiting for weights | authors' wait, p50 / p99 | authors' verdicts, p50 / p99 | workers lost "
        "| claims failed | fullest disk |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, each in found.items():
        held = each.held_per_verdict
        coming_up = sum(held[doing] for doing in (Doing.SETTING_ASIDE, Doing.LOADING, Doing.WAKING))
        disk = f"{each.fullest_disk / 1e12:.1f} TB" if each.fullest_disk else "–"
        lines.append(
            f"| {name} | {each.loads_per_verdict:.2f} | {each.wakes_per_verdict:.2f} | {held[Doing.RUNNING]:,.0f} | "
            f"{coming_up:,.0f} | {held[Doing.FETCHING]:,.0f} | {_in_words(each.waited.get(AUTHOR_PRIORITY))} | "
            f"{_in_words(each.took.get(AUTHOR_PRIORITY))} | {each.losses:,} | {each.failed:,} | {disk} |"
        )
    return "\n".join(lines) + "\n"


def rates_table(found: Sequence[AtRate]) -> str:
    """The same fleet under rising arrivals; in Markdown."""
    lines = [
        "| arrivals | claims | utilisation | busiest pool | p99 wait, all | loads per verdict, and each by itself | "
        "authors' wait, p50 / p99 | each by itself | authors' verdicts, p50 / p99 | each by itself |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in found:
        farm, alone = each.farm, each.alone
        name, busy = farm.busiest
        waits = " | ".join(_in_words(way.waited.get(AUTHOR_PRIORITY)) for way in (farm, alone))
        took = " | ".join(_in_words(way.took.get(AUTHOR_PRIORITY)) for way in (farm, alone))
        loads = f"{farm.loads_per_verdict:.2f}, {alone.loads_per_verdict:.2f}"
        lines.append(
            f"| × {each.rate:g} | {farm.claims:,} | {farm.utilisation:.1%} | {name}, {busy:.0%} busy | "
            f"{farm.p99_waited:,.0f} s | {loads} | {waits} | {took} |"
        )
    return "\n".join(lines) + "\n"


def _in_words(waits: tuple[float, float] | None) -> str:
    return "–" if waits is None else f"{waits[0]:,.0f} / {waits[1]:,.0f} s"
