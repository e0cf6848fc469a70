"""What a worker and the process of one run (`workers.runs.runner`) say to one another, as files in the run's folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.measurement import Measurement, Proportion, Sha256
from specs.messages import AttemptOutcome, ModelRef, Order
from specs.policy.generation import EffectiveGeneration

REQUEST_FILE = "order.json"
PROGRESS_FILE = "progress.jsonl"
"""One `RunProgress` a line, appended whenever an answer is scored or has failed."""

WAITS_FILE = "waits.json"
"""A `RunWaits`, written anew whenever it changes."""

OUTCOME_FILE = "outcome.json"
"""Written last, in one piece. Where it is missing, the run broke."""

ENGINE_KEY_ENV = "VLLM_API_KEY"
"""The engine's key, in the environment of the run's process; the name is Inspect's."""


STARTED_OVER = "started over, as the partial log of an earlier attempt cannot be used: "


class EarlierLog(Contract):
    """The partial log of an earlier attempt, as it was fetched."""

    file: str
    sha256: Sha256
    """Of the file; it was checked."""


class RunRequest(Contract):
    """One run: all that its process needs besides its environment."""

    order: Order
    model: ModelRef
    base_url: str
    """Of the engine's OpenAI-compatible API."""

    seconds_left: Annotated[float, Field(gt=0)]
    """Of the order's deadline, as this is written."""

    concurrency: Annotated[int, Field(ge=1)]
    """Requests in flight at once, at first: workers/runs/limit_file.py."""

    dataset_folder: str
    """The snapshot; the commit is part of its path."""

    model_folder: str
    """The snapshot of the model that the engine serves."""

    generation: EffectiveGeneration
    """By which answers are sampled."""

    defaults: EffectiveGeneration
    """Where the spec says nothing: of other requests too, such as those to a model that judges itself."""

    context_tokens: int | None
    """Of the engine; None where it does not say."""

    max_dataset_rows: Annotated[int, Field(gt=0)]
    max_cell_bytes: Annotated[int, Field(gt=0)]
    hardware: str
    engine_arguments: tuple[str, ...]
    batch_invariant: bool
    chat_template_sha256: Sha256 | None
    check_template: bool = True
    """Whether it has to be one that does not depend on what is asked."""

    earlier: EarlierLog | None
    """To go on from, where it is one of this very measurement."""

    started_over: str = ""
    """Why there is none although the order names one; else empty."""


class RunProgress(Contract):
    """How far a run is."""

    done: Annotated[int, Field(ge=0)]
    """Samples with all their epochs."""

    total: Annotated[int, Field(ge=0)]
    left: Annotated[int, Field(ge=0)]
    """Answers that are still to come: samples times epochs. A run that stops early stops before."""

    score: Proportion | None
    """Mean of the scored answers so far, by the spec's first scorer."""


class RunWaits(Contract):
    """Whom a run has asked something that is not answered yet; while it backs off before it asks again, too."""

    engine: bool
    judges: bool


class RunOutcome(Contract):
    """How a run ended."""

    outcome: AttemptOutcome
    detail: str
    for_operators: str = ""
    """What stays in the worker's log, as it may quote a gated benchmark; else empty."""

    measurement: Measurement | None = None
    log: str | None = None
    """Name of the Inspect log in the run's folder; present with a measurement, and where answers are kept."""

    kept_answers: Annotated[int, Field(ge=0)] = 0
    """Of a run that was told to stop, or whose judge is away: answers that are finished in its log."""
