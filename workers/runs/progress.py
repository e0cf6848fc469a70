"""Inspect's hooks into a run: progress for whoever watches, and a seed for each answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from inspect_ai.hooks import BeforeModelGenerate, Hooks, SampleEnd, hooks
from inspect_ai.log._samples import sample_active

from specs.logs.scoring import first_score
from workers.runs.run_request import RunProgress
from workers.runs.stopping import StopWhenSure


class ProgressFile:
    """Writes a line for every answer that is scored or has failed."""

    def __init__(
        self, file: Path, total: int, epochs: int, known: Iterable[tuple[int | str, float | None]] = ()
    ) -> None:
        """`known` are the answers of an earlier attempt: a sample and its score for each epoch."""
        self._file = file
        self._total = total
        self._epochs = epochs
        self._answered: Counter[int | str] = Counter()
        self._done = 0
        self._scored = 0
        self._sum = 0.0
        for sample, score in known:
            self._count(sample, score)
        self._write()

    def answered(self, sample: int | str, score: float | None) -> None:
        """One more epoch of a sample is done; None where it has no score."""
        self._count(sample, score)
        self._write()

    def _count(self, sample: int | str, score: float | None) -> None:
        self._answered[sample] += 1
        self._done += self._answered[sample] == self._epochs
        if score is not None:
            self._scored += 1
            self._sum += score

    def _write(self) -> None:
        progress = RunProgress(
            done=self._done,
            total=self._total,
            left=max(0, self._total * self._epochs - self._answered.total()),
            score=min(max(self._sum / self._scored, 0.0), 1.0) if self._scored else None,
        )
        with self._file.open("a") as lines:
            lines.write(progress.model_dump_json() + "\n")


def watch(progress: ProgressFile, stop: StopWhenSure | None) -> None:
    """Have Inspect tell of every finished answer of this process's run: `progress`, and what may stop it early."""

    @hooks(name="reprofarm_progress", description="Tells the worker how far the run is")
    class Progress(Hooks):
        async def on_sample_end(self, data: SampleEnd) -> None:
            progress.answered(data.sample.id, first_score(data.sample))
            if stop is not None:
                stop.answered(data.sample)


def seed_each_answer(seed: int, epochs: int) -> None:
    """Send a seed of its own with each answer: `seed` with the first sample's first epoch, and one more with the next.

    Those are the requests that would have `seed` itself; what the spec gives a turn goes out as it is.

    vLLM draws the same random numbers for every request of one seed, whatever is asked: several epochs would be one,
    and a model that begins its answers alike would choose the same letter for hundreds of questions.
    """

    @hooks(name="reprofarm_seeds", description="Gives every answer a seed of its own")
    class Seeds(Hooks):
        async def on_before_model_generate(self, data: BeforeModelGenerate) -> None:
            active = sample_active()
            if active is not None and data.config.seed == seed and isinstance(active.sample.id, int):
                data.config.seed = seed + (active.sample.id - 1) * epochs + active.epoch - 1
