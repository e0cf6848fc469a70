"""One blow at some stages: what became of each claim, how soon, and whether that is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tests.chaos.blows import Blow
from tests.chaos.farm import FARM_USER, ChaosFarm
from tests.chaos.seen import Seen, look, pull_requests
from tests.chaos.stages import Staged

Stager = Callable[[ChaosFarm], Staged]


@dataclass(frozen=True)
class Cell:
    """A claim that was at a stage when the blow fell."""

    stage: str
    blow: str
    seconds: float
    """From the blow to the end: the verdict, and where it is `verified` the badge and the pull request."""

    outcome: str | None
    expected: str
    verdicts: int
    """How often it was decided."""

    badges: int
    signed: int
    """How often it was signed."""

    pull_requests: int
    attempts: tuple[str, ...]
    reason: str

    @property
    def is_right(self) -> bool:
        """The right verdict once; one badge and one pull request where it is verified, none where it is not."""
        proofs = 1 if self.expected == "verified" else 0
        return (self.outcome, self.verdicts, self.badges, self.signed, self.pull_requests) == (
            self.expected,
            1,
            proofs,
            proofs,
            proofs,
        )

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {**asdict(self), "seconds": round(self.seconds, 1), "is_right": self.is_right}


def struck(farm: ChaosFarm, stager: Stager, blow: Blow) -> list[Cell]:
    """Bring claims to their stages, strike, leave the farm alone, and see what it makes of it.

    A farm that does not get there within patience gives a cell with what it came to.
    """
    staged = stager(farm)
    began = time.monotonic()
    blow.strike(farm)
    staged.let_go(blow.victim)
    expected = {**dict.fromkeys(staged.at.values(), "verified"), **staged.others}
    ended = _ends(farm, list(expected), began)
    farm.wait("the API is ready again", farm.is_ready)
    stages = {model: stage for stage, model in staged.at.items()}
    cells = []
    for model, verdict in expected.items():
        seconds, seen = ended[model]
        opened = pull_requests(farm.network.hub_url, model, FARM_USER)
        cells.append(_cell(stages.get(model, "delivered, a false claim"), blow, seconds, seen, verdict, opened))
    return cells


def _ends(farm: ChaosFarm, models: list[str], began: float) -> dict[str, tuple[float, Seen]]:
    ended: dict[str, tuple[float, Seen]] = {}

    def all_done() -> bool:
        for model in models:
            seen = look(farm.database, model)
            if seen is not None and seen.is_done and model not in ended:
                ended[model] = time.monotonic() - began, seen
        return len(ended) == len(models)

    try:
        farm.wait(f"{models} are through", all_done)
    except AssertionError:
        for model in models:
            seen = look(farm.database, model)
            if seen is not None:
                ended.setdefault(model, (time.monotonic() - began, seen))
    return ended


def _cell(stage: str, blow: Blow, seconds: float, seen: Seen, expected: str, opened: int) -> Cell:
    return Cell(
        stage=stage,
        blow=blow.name,
        seconds=seconds,
        outcome=seen.outcome,
        expected=expected,
        verdicts=seen.times.get("decided", 0),
        badges=seen.badges,
        signed=seen.times.get("badge", 0),
        pull_requests=opened,
        attempts=seen.attempts,
        reason=seen.reason,
    )
