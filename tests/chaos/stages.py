"""Brings fresh claims to the stages of a reproduction, and keeps them there until the blow.

The database tells when a stage is reached. Stages that pass within milliseconds are kept by what also happens in
operation: an engine that is slow to start, samples that take a second, a control worker that is frozen, a signing key
that is not mounted, a network that keeps an answer back.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.state_machine import ClaimState, ReproductionState
from specs.messages import CONTROL_QUEUE, REPORT, Stage
from tests.chaos.farm import QUICK, SLOW, ChaosFarm, Place
from tests.chaos.seen import Seen, look
from tests.chaos.supervisor import signal_all

STAGES = (
    "queued",
    "delivered",
    "engine starting",
    "running",
    "between samples",
    "reported",
    "compared",
    "signed",
    "publishing",
)

BROKEN = "delivered, a broken model"


@dataclass(frozen=True)
class Staged:
    """Claims at their stages."""

    at: dict[str, Place]
    """The claim that is at a stage."""

    let_go: Callable[[str], None]
    """Ends what kept them there; called with the victim, after the blow."""


def _nothing(_: str) -> None:
    """Nothing kept them."""


def early(farm: ChaosFarm) -> Staged:
    """One claim whose engine starts, claims in the broker's queue behind it, and one behind those in the database."""
    starting = farm.submit(QUICK, slow_start=True)
    _until(farm, starting, "it is dispatched", lambda seen: seen.run not in (None, ReproductionState.QUEUED))
    delivered, broken = farm.submit(QUICK), farm.submit(QUICK, broken=True)
    for place in (delivered, broken):
        _until(farm, place, "it is in the broker", lambda seen: seen.run == ReproductionState.DISPATCHED)
    queued = farm.submit(QUICK)
    _until(farm, queued, "it is queued", lambda seen: seen.run == ReproductionState.QUEUED)
    _until(farm, starting, "its engine starts", lambda seen: seen.stage == Stage.STARTING_ENGINE)
    at = {"queued": queued, "delivered": delivered, BROKEN: broken, "engine starting": starting}
    return Staged(at, _nothing)


def running(farm: ChaosFarm) -> Staged:
    """A run in which no sample has ended yet."""
    place = farm.submit(SLOW)
    _until(farm, place, "it runs", lambda seen: seen.stage == Stage.RUNNING)
    return Staged({"running": place}, _nothing)


def between_samples(farm: ChaosFarm) -> Staged:
    """A run in which some samples have ended and some have not."""
    place = farm.submit(SLOW)
    _until(farm, place, "samples are done", lambda seen: seen.stage == Stage.RUNNING and seen.samples_done > 0)
    return Staged({"between samples": place}, _nothing)


def reported(farm: ChaosFarm) -> Staged:
    """A report that lies in the control queue, of a worker that has done its part."""
    place = farm.submit(SLOW)
    seen = _until(farm, place, "it runs", lambda seen: seen.stage == Stage.RUNNING and seen.samples_done > 1)
    for name in farm.control_workers:
        signal_all(farm.supervisor.family(name), signal.SIGSTOP)

    def is_there() -> bool:
        waiting = farm.queued_in_broker(CONTROL_QUEUE)
        return any(each["headers"]["task"] == REPORT and str(seen.reproduction_id) in _text(each) for each in waiting)

    farm.wait(f"the report on {place} lies in the queue", is_there)

    def let_go(victim: str) -> None:
        for name in farm.control_workers:
            if name != victim:
                signal_all(farm.supervisor.family(name), signal.SIGCONT)

    return Staged({"reported": place}, let_go)


def late(farm: ChaosFarm) -> Staged:
    """A pull request that was opened, and the farm does not know; behind it the stages before that one."""
    farm.network.hold()
    publishing = farm.submit(QUICK)
    farm.wait("the pull request is opened", farm.network.holding.is_set)
    # The publisher waits for the Hub's answer, so what is signed now stays unpublished.
    signed = farm.submit_again(publishing, 99.8)
    _until(farm, signed, "it is signed", lambda seen: seen.badges == 1)
    away = farm.signing_key.with_suffix(".away")
    farm.signing_key.rename(away)
    compared = farm.submit_again(publishing, 99.6)
    _until(farm, compared, "it has its verdict", lambda seen: seen.state == ClaimState.DECIDED)

    def let_go(victim: str) -> None:
        away.rename(farm.signing_key)
        # A Hub that died has not answered.
        farm.network.release(lose=victim == "hub")

    return Staged({"compared": compared, "signed": signed, "publishing": publishing}, let_go)


STAGERS = {"early": early, "running": running, "between samples": between_samples, "reported": reported, "late": late}
"""By name; together they reach every stage."""


def _text(envelope: dict[str, object]) -> str:
    headers = envelope["headers"]
    return str(headers.get("argsrepr", "")) if isinstance(headers, dict) else ""


def _until(farm: ChaosFarm, place: Place, what: str, is_so: Callable[[Seen], bool]) -> Seen:
    def found() -> Seen | None:
        seen = look(farm.database, place)
        assert seen is None or not seen.is_done or is_so(seen), f"{place} was through before {what}: {seen}"
        return seen if seen is not None and is_so(seen) else None

    return farm.wait(f"{place}: {what}", found)  # type: ignore[return-value]  # waits until it is not None
