"""The finished prefix: only the part of a random order that has finished without gaps may be counted."""

from __future__ import annotations


class FinishedPrefix:
    """Takes samples' scores as they finish and releases them in the run's order, as far as there is no gap.

    Short answers finish first and are easier: counting whatever is done would favour them.
    """

    def __init__(self, population: int) -> None:
        self._population = population
        self._waiting: dict[int, float | None] = {}
        self.released = 0
        """Samples given out so far: the place of the next."""

    @property
    def waiting(self) -> int:
        """Samples that have finished behind a gap."""
        return len(self._waiting)

    def add(self, place: int, score: float | None) -> list[float | None]:
        """Take the score of the sample at a place of the order, None if it failed; give out those that it completes.

        Raises:
            ValueError: the place is outside the population, or its sample was taken before.
        """
        if not 0 <= place < self._population:
            raise ValueError(f"place {place} is outside the population of {self._population}")
        if place < self.released or place in self._waiting:
            raise ValueError(f"the sample at place {place} finished twice")
        self._waiting[place] = score
        ready = []
        while self.released in self._waiting:
            ready.append(self._waiting.pop(self.released))
            self.released += 1
        return ready
