"""Brings fresh claims to the stages of a reproduction, and keeps them there until the blow.

The database tells when a stage is reached. Stages that pass within milliseconds are kept by what also happens in
operation: an engine that is slow to start, samples that take a second, a control worker that is frozen, a signing key
that is not mounted, a network that keeps an answer back.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.machine import ClaimState, ReproductionState
from specs.messages import CONTROL_QUEUE, REPORT, Stage
from tests.chaos.farm import QUICK, SLOW, ChaosFarm
from tests.chaos.seen import Seen, look

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

WAITING_BEFORE = 2
"""Batches that the dispatcher puts into the broker ahead of the worker."""


@dataclass(frozen=True)
class Staged:
    """Claims at their stages."""

    at: dict[str, str]
    """The model whose claim is at a stage."""

    others: dict[str, str]
    """Models whose claims had to be there as well, and the verdict each must get."""

    let_go: Callable[[str], None]
    """Ends what kept them there; called with the victim, after the blow."""


def _nothing(_: str) -> None:
    """Nothing kept them."""


def early(farm: ChaosFarm) -> Staged:
    """One claim whose engine starts, claims in the broker's queue behind it, and one behind those in the database."""
    starting = farm.submit(QUICK, slow_start=True)
    _until(farm, starting, "its engine starts", lambda seen: seen.stage == Stage.STARTING_ENGINE)
    # A false one among them: a blow must not turn that into anything else either.
    delivered, false = farm.submit(QUICK), farm.submit(QUICK, value=20)
    for model in (delivered, false):
        _until(farm, model, "it is in the broker", lambda seen: seen.run == ReproductionState.DISPATCHED)
    queued = farm.submit(QUICK)
    _until(farm, queued, "it is queued", lambda seen: seen.run == ReproductionState.QUEUED)
    at = {"queued": queued, "delivered": delivered, "engine starting": starting}
    return Staged(at, {false: "mismatch"}, _nothing)


def running(farm: ChaosFarm) -> Staged:
    """A run in which no sample has ended yet."""
    model = farm.submit(SLOW)
    _until(farm, model, "it runs", lambda seen: seen.stage == Stage.RUNNING)
    return Staged({"running": model}, {}, _nothing)


def between_samples(farm: ChaosFarm) -> Staged:
    """A run in which some samples have ended and some have not."""
    model = farm.submit(SLOW)
    _until(farm, model, "samples are done", lambda seen: seen.stage == Stage.RUNNING and seen.samples_done > 0)
    return Staged({"between samples": model}, {}, _nothing)


def reported(farm: ChaosFarm) -> Staged:
    """A report that lies in the control queue, of a worker that has done its part."""
    model = farm.submit(SLOW)
    return Staged({"reported": _reported(farm, model)}, {}, lambda victim: _thaw(farm, victim))


def late(farm: ChaosFarm) -> Staged:
    """A pull request that was opened, and the farm does not know; behind it the stages before that one."""
    farm.network.hold()
    publishing = farm.submit(QUICK)
    farm.wait("the pull request is opened", farm.network.holding.is_set)
    # The publisher waits for the Hub's answer, so what is signed now stays unpublished.
    signed = farm.submit(QUICK)
    _until(farm, signed, "it is signed", lambda seen: seen.badges == 1)
    away = farm.signing_key.with_suffix(".away")
    farm.signing_key.rename(away)
    compared = farm.submit(QUICK)
    _until(farm, compared, "it has its verdict", lambda seen: seen.state == ClaimState.DECIDED)

    def let_go(victim: str) -> None:
        away.rename(farm.signing_key)
        # A Hub that died has not answered.
        farm.network.release(lose=victim == "hub")

    return Staged({"compared": compared, "signed": signed, "publishing": publishing}, {}, let_go)


def _reported(farm: ChaosFarm, model: str) -> str:
    seen = _until(farm, model, "it runs", lambda seen: seen.stage == Stage.RUNNING and seen.samples_done > 1)
    farm.supervisor.signal_family("control", signal.SIGSTOP)

    def is_there() -> bool:
        waiting = farm.queued_in_broker(CONTROL_QUEUE)
        return any(each["headers"]["task"] == REPORT and seen.reproduction_id in _text(each) for each in waiting)

    farm.wait(f"the report on {model} lies in the queue", is_there)
    return model


def _text(envelope: dict[str, object]) -> str:
    headers = envelope["headers"]
    return str(headers.get("argsrepr", "")) if isinstance(headers, dict) else ""


def _thaw(farm: ChaosFarm, victim: str) -> None:
    if victim != "control":
        farm.supervisor.signal_family("control", signal.SIGCONT)


def _until(farm: ChaosFarm, model: str, what: str, is_so: Callable[[Seen], bool]) -> Seen:
    def found() -> Seen | None:
        seen = look(farm.database, model)
        assert seen is None or not seen.is_done or is_so(seen), f"{model} was through before {what}: {seen}"
        return seen if seen is not None and is_so(seen) else None

    return farm.wait(f"{model}: {what}", found)  # type: ignore[return-value]  # waits until it is not None
