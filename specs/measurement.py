"""What a finished run measured, and under which circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from specs.contract import Contract
from specs.epochs import MAX_EPOCHS
from specs.policy.generation import EffectiveGeneration
from specs.text import is_clean

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CommitId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Proportion = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
"""Of whatever: what every database and every reader of JSON has as a whole number."""

SampleId = int | str
MAX_ID_CHARS = 1000
"""Of a sample's id in words: all of a run's are held in memory."""

Scores = Mapping[SampleId, float | None]
"""Of one run: score by sample id, a proportion; absent or None where it has none."""


def _of_these_times(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    # The first and last hours of the calendar cannot be told in other zones.
    if not 2000 <= moment.year <= 2200:
        raise ValueError(f"a time in the year {moment.year}")
    return moment


Moment = Annotated[datetime, AfterValidator(_of_these_times)]
"""By a worker's clock, which may be wrong, though not by centuries."""


def _without_controls(text: str) -> str:
    if not is_clean(text.strip()):
        raise ValueError("text with characters that act instead of showing")
    return text


Said = Annotated[str, Field(max_length=500), AfterValidator(_without_controls)]
"""By a worker, of itself or of what it ran: it is signed, shown, and looked into by databases."""

MAX_POPULATION = 4_000_000
"""Samples of a task. To check a report, all of them are put in order, so a forged one must not name any number."""


class Evidence(Contract):
    """Where the Inspect `.eval` log of a run is stored."""

    sha256: Sha256
    """Of the log file's bytes; also its name in the evidence store."""

    size_bytes: Annotated[int, Field(gt=0, lt=2**53)]


class PartialLog(Evidence):
    """The log of a run that was stopped before its end, stored like the evidence of a whole one."""

    answers: Annotated[int, Field(gt=0, lt=2**31)]
    """That are finished in it: for each sample, one an epoch."""


class Resumed(Contract):
    """What a run went on from."""

    sha256: Sha256
    """Of the partial log of an earlier attempt."""

    answers: Annotated[int, Field(gt=0, lt=2**31)]
    """That came from there."""

    samples: Annotated[int, Field(ge=0, le=MAX_POPULATION)]
    """All of whose answers came from there."""


class Circumstances(Contract):
    """Everything besides the model and the spec that a re-run would have to repeat."""

    versions: Annotated[dict[Said, Said], Field(max_length=100)]
    """Package to version: vllm, torch, lighteval, inspect_ai, transformers, python, reprofarm."""

    hardware: Said
    """One line, such as `2 × NVIDIA H100 80GB HBM3` or `CPU x86_64, 2 cores`."""

    engine_arguments: Annotated[
        tuple[Annotated[str, Field(max_length=4000), AfterValidator(_without_controls)], ...], Field(max_length=200)
    ]
    """As the engine was started, less its key, host and port."""

    batch_invariant: bool = False
    """Whether the engine was told to use kernels whose sums do not depend on what else is in a batch."""

    generation: EffectiveGeneration
    seed: int
    """Orders the samples and shuffles choices."""

    chat_template_sha256: Sha256 | None
    """Of the model's chat template; None where its repo has none, and the engine used one of its own."""

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
    epoch_reducer: Annotated[str, Field(pattern=r"^[a-z_0-9]{1,40}$")] | None = None
    """Inspect's name of what made one score of several epochs; None where the worker's version does not say yet."""

    same_prompts: bool | None = None
    """Whether every run of the spec asks the same: not where choices are shuffled, or an earlier answer is asked about.
    None where the worker's version does not say yet."""

    judges: Annotated[dict[Said, Said], Field(max_length=100)]
    """Who judged, by the name in the spec (`self` for the evaluated model); empty where no model judged."""


class Measurement(Contract):
    """The scores of one run.

    Scores are proportions. Samples stand in the run's seeded random order, so a prefix is a random sample of them.
    """

    scorer: Said
    """The scorer whose value is compared: the spec's first."""

    score: Proportion | None
    """Mean over the scored samples; None where there are none."""

    standard_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """Of that mean; None for fewer than two samples, which have none."""

    population: Annotated[int, Field(ge=1, le=MAX_POPULATION)]
    """N: samples that the task has."""

    targets_sha256: Sha256
    """Of all the task's targets in words (`targets_sha256` in specs/judging): are two runs of the same samples?"""

    # PostgreSQL looks into no JSON that holds a zero character.
    sample_ids: tuple[int | Annotated[str, Field(max_length=MAX_ID_CHARS, pattern=r"^[^\x00]*$")], ...]
    """Dataset ids of the samples that count, in the seeded order: a run that stopped by itself counts those up to
    where its last claim had its answer."""

    sample_scores: tuple[Proportion | None, ...]
    """Score of each sample over its epochs, as the scorer says; None where the sample failed and has none."""

    truncated: Count
    """Answers cut off at the token limit. They are scored as the scorer says."""

    cut_by_context: Count | None = None
    """Of those, answers that had not reached `max_tokens`: the engine's context had no room for more. None where the
    worker's version does not say yet."""

    unparsed: Count
    """Answers in which the scorer found none of the form it looks for. They are scored as the scorer says."""

    thoughts: Count | None = None
    """Answers before which the model's thoughts stand unmarked, where the scorer may have taken those for the answer;
    None where the worker's version does not say yet."""

    ignored: Count
    """Samples that were in flight when the run stopped by itself. They are in the log and count for nothing."""

    other_scorers: Annotated[dict[Said, Proportion | None], Field(max_length=100)]
    """Means by the spec's further scorers, by name."""

    input_tokens: Count
    output_tokens: Count
    started_at: Moment
    ended_at: Moment
    circumstances: Circumstances
    engine_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the engine's time between start and end: 1, unless other runs used it too. What a run cost goes by it."""

    resumed: Resumed | None = None
    """Where an earlier attempt was stopped half way and this run went on from there, under the same circumstances: the
    times are of the last part alone, the tokens of the whole. None for a run in one piece."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if len(self.sample_ids) != len(self.sample_scores):
            raise ValueError("as many sample ids as sample scores")
        if len(set(map(str, self.sample_ids))) != len(self.sample_ids):
            raise ValueError("a sample is counted twice")
        if len(self.sample_ids) > self.population:
            raise ValueError("more samples than the task has")
        return self

    @property
    def scored(self) -> tuple[float, ...]:
        """The scores that there are, in the seeded order."""
        return tuple(score for score in self.sample_scores if score is not None)

    @property
    def failed(self) -> int:
        """Samples without a score."""
        return len(self.sample_scores) - len(self.scored)


def stored_scores(stored: Mapping[str, Any]) -> Scores:
    """What each sample scored, of a measurement as it is stored.

    It was checked when it came in; read by key, because a model of all of it takes longer to make than to use.
    """
    return dict(zip(stored["sample_ids"], stored["sample_scores"], strict=True))


def stored_answers(stored: Mapping[str, Any]) -> int:
    """How many answers an engine gave for it: every epoch of every sample that was asked."""
    return int((len(stored["sample_ids"]) + stored["ignored"]) * stored["circumstances"]["epochs"])


def stored_seconds(stored: Mapping[str, Any]) -> float:
    """For how long its engine was busy with it alone. Of one that went on from an earlier attempt, the last part."""
    start, end = (datetime.fromisoformat(stored[name]) for name in ("started_at", "ended_at"))
    return stored_share(stored) * max((end - start).total_seconds(), 0.0)


def stored_share(stored: Mapping[str, Any]) -> float:
    """The part of its engine's time that it had. Of one that went on from an earlier attempt, in the last part."""
    return float(stored.get("engine_share", 1.0))
