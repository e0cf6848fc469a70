"""What a reproduction is taken to cost before it runs, in GPU-seconds.

Budgets are decided by it, and how much travels together (scheduler/dispatch/batching.py). A GPU-second is one GPU held
for a second; on a CPU pool, one worker held for a second. The estimate is

    units · start + answers · cost of an answer

with units = max(GPUs that are held, 1) and answers = samples · epochs. Where runs of the same task, pool and class of
models are complete, the cost of an answer is the median of theirs, in proportion to the bytes of the weights. Else it
is

    tokens · weights bytes · part that is read / (bandwidth · concurrency)

since every step of decoding reads the weights once, for as many answers as are in flight, and reading them bounds it
(Pope et al., "Efficiently scaling transformer inference", 2022, section 2). All weights, but for experts that no answer
was sent to (`specs.engines.model_experts`). Over more GPUs it takes so much less time, and so as many GPU-seconds;
those that are held and that the model is not split over cost as much, and do nothing. Prompts and waiting for the last
answers are left out: the bandwidths are taken low for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.policy.budget import GpuSeconds

START_SECONDS = 60.0
"""Assumed for an engine to come up, less reading its weights. Each reproduction bears it, though a batch starts one."""

LOAD_BYTES_PER_SECOND = 1e9
"""Assumed for reading weights from disk."""

GPU_BYTES_PER_SECOND = 1e12
"""Assumed of one GPU's memory: half of what data sheets say of an A100 of 80 GB."""

CPU_BYTES_PER_SECOND = 4e9
"""Assumed of a CPU worker, which arithmetic bounds sooner than memory does."""

ASSUMED_SAMPLES = 1000
"""Where nobody knows how many the task has."""

ASSUMED_TOKENS = 512
"""Of an answer, where nothing sets `max_tokens`; a model that reasons at length takes many times that."""


@dataclass(frozen=True)
class Work:
    """A reproduction to be, as far as its cost depends on it."""

    weights_bytes: int
    gpus: int
    """That the model is split over; 0 for a CPU pool."""

    held_gpus: int
    """Of the worker, all of which a run holds."""

    samples: float | None
    """Expected to be asked; None where nobody knows."""

    epochs: int
    max_tokens: int | None
    """Of one answer; None where nothing sets a limit."""

    concurrency: int
    read_part: float = 1.0
    """Of the weights, by a step with as many answers as `concurrency`."""


@dataclass(frozen=True)
class EarlierRun:
    """What a completed reproduction really took."""

    weights_bytes: int
    gpus: int
    """That were held."""

    seconds: float
    """Of asking, without the engine's start."""

    answers: int


class Estimate(Contract):
    """What a reproduction is taken to cost."""

    gpu_seconds: GpuSeconds
    basis: Annotated[str, Field(max_length=500)]
    """What it rests on, in words: history or assumptions."""


def gpu_seconds(seconds: float, gpus: int) -> float:
    """What holding a worker with so many GPUs costs; a CPU worker has 0 and counts as one."""
    return seconds * max(gpus, 1)


def start_seconds(weights_bytes: int) -> float:
    """That an engine is taken to need to come up: workers do not report it apart."""
    return START_SECONDS + weights_bytes / LOAD_BYTES_PER_SECOND


def start_gpu_seconds(weights_bytes: int, gpus: int) -> float:
    """What starting an engine is taken to cost: it holds the GPUs too."""
    return gpu_seconds(start_seconds(weights_bytes), gpus)


def asking_seconds(cost: float, weights_bytes: int, gpus: int) -> float:
    """That a reproduction of such a cost in GPU-seconds is taken to ask its engine, once that is up."""
    return max(0.0, cost / max(gpus, 1) - start_seconds(weights_bytes))


def estimate(work: Work, earlier: Sequence[EarlierRun]) -> Estimate:
    """The cost of a reproduction, beside `earlier` ones of the same task, pool and class of models."""
    samples = ASSUMED_SAMPLES if work.samples is None else work.samples
    said = [f"{ASSUMED_SAMPLES} samples assumed" if work.samples is None else f"{samples:.0f} samples"]
    known = [run for run in earlier if run.answers > 0 and run.weights_bytes > 0 and run.seconds > 0]
    if known:
        rates = [gpu_seconds(run.seconds, run.gpus) / run.answers / run.weights_bytes for run in known]
        an_answer = median(rates) * work.weights_bytes
        said.append(f"as {len(known)} earlier run{'s' if len(known) > 1 else ''} took")
    else:
        tokens = ASSUMED_TOKENS if work.max_tokens is None else work.max_tokens
        bandwidth = GPU_BYTES_PER_SECOND if work.gpus else CPU_BYTES_PER_SECOND
        seconds = tokens * work.weights_bytes * work.read_part / (bandwidth * max(work.gpus, 1) * work.concurrency)
        an_answer = gpu_seconds(seconds, work.held_gpus)
        said.append(f"{tokens} tokens an answer{' assumed' if work.max_tokens is None else ''}, no earlier run")
    start = start_gpu_seconds(work.weights_bytes, work.held_gpus)
    return Estimate(gpu_seconds=start + samples * work.epochs * an_answer, basis=", ".join(said))
