"""One blow at some stages: what became of each claim, how soon, and whether that is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tests.chaos.blows import Blow
from tests.chaos.farm import FARM_USER, ChaosFarm, Place
from tests.chaos.seen import Seen, look, publications
from tests.chaos.stages import BROKEN, Staged

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

    publications: int
    """Pull requests that were opened, or comments made."""

    attempts: tuple[str, ...]
    reason: str

    @property
    def is_right(self) -> bool:
        """The right verdict once; one badge and one pull request where it is verified, none where it is not."""
        proofs = 1 if self.expected == "verified" else 0
        return (self.outcome, self.verdicts, self.badges, self.signed, self.publications) == (
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
    ended = _ends(farm, list(staged.at.values()), began)
    farm.wait("the API is ready again", farm.is_ready)
    cells = []
    for stage, place in staged.at.items():
        seconds, seen = ended[place]
        told = farm.wait("the Hub says", lambda: [publications(farm.network.hub_url, place, FARM_USER)])  # noqa: B023
        cells.append(_cell(stage, blow, seconds, seen, told[0]))
    return cells


def _ends(farm: ChaosFarm, places: list[Place], began: float) -> dict[Place, tuple[float, Seen]]:
    ended: dict[Place, tuple[float, Seen]] = {}

    def all_done() -> bool:
        for place in places:
            seen = look(farm.database, place)
            if seen is not None and seen.is_done and place not in ended:
                ended[place] = time.monotonic() - began, seen
        return len(ended) == len(places)

    try:
        farm.wait(f"{places} are through", all_done)
    except AssertionError:
        for place in places:
            seen = look(farm.database, place)
            if seen is not None:
                ended.setdefault(place, (time.monotonic() - began, seen))
    return ended


def _cell(stage: str, blow: Blow, seconds: float, seen: Seen, told: int) -> Cell:
    return Cell(
        stage=stage,
        blow=blow.name,
        seconds=seconds,
        outcome=seen.outcome,
        expected="failed" if stage == BROKEN else "verified",
        verdicts=seen.times.get("decided", 0),
        badges=seen.badges,
        signed=seen.times.get("badge", 0),
        publications=told,
        attempts=seen.attempts,
        reason=seen.reason,
    )
