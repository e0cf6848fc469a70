"""Which pool runs a model, on how many of its GPUs, with how much context. Pure: sizes in, an answer with figures out.

A model fits where its weights, one sequence of the length that its task needs and the engine's own memory have room;
the smallest pool in which that is so gets it. There it gets the fewest GPUs that leave room for as many such sequences
as are asked at once, and for one of the model's whole context, which vLLM insists on at its start; where no number of
GPUs does, it gets the most that it can be split over. Where the whole context has no room, the engine is started with
what the task needs instead. Where an answer may fill the context and no pool has room for all of it, the engine is
started with the longest power of two that one has room for (docs/decisions/0035-contexts-that-fit-nowhere.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from specs.engines.batch_invariance import LEAST_CAPABILITY
from specs.engines.model_config import ModelConfig
from specs.engines.model_context import least_tokens
from specs.engines.model_size import (
    ENGINE_PART,
    MACHINE_OVERHEAD_BYTES,
    WEIGHTS_OVERHEAD,
    ModelSize,
    room_on_a_machine,
    tokens_in_flight,
)
from specs.engines.quantization_methods import is_loaded_on
from specs.policy.engine import EngineRules
from specs.policy.pools import PoolRules

GIB = 2**30

SHORT_ANSWER = 4096
"""Tokens of an answer, for which a model that has no room for answers of any length is tried."""

LONG_ANSWER = 24_576
"""Tokens of an answer that a context which is cut because it fits nowhere leaves room for at least: with policy's
default of `prompt_tokens`, 32,768 in all."""

GPU_OVERHEAD_BYTES = 2 * GIB
"""Of each GPU, assumed for what is neither weights nor cache: CUDA's context, activations, captured graphs and buffers
for exchange between GPUs. Not measured by this project."""

_ALL_THERE_IS = "which is all that the model has"
_ENOUGH = "which is enough for the task"


@dataclass(frozen=True)
class TaskNeed:
    """What a task needs of an engine's context."""

    prompt_tokens: int
    """To make room for."""

    max_tokens: int | None
    """Of an answer; None is what is left of the context, and so all of it."""


@dataclass(frozen=True)
class Placement:
    """Where a model runs, and how."""

    pool: PoolRules
    gpus: int
    """That the model is split over, of the pool's; 0 on a CPU pool."""

    max_model_len: int | None
    """Tokens of context to start the engine with; None is what policy or else the model says."""

    sequences: int | None
    """Of the length that the task needs, for which the cache has room at once; None where nobody can tell."""

    words: str
    """What was reckoned."""


@dataclass(frozen=True)
class NoRoom:
    """It fits nowhere."""

    reason: str
    """With the figure."""


@dataclass(frozen=True)
class _Fit:
    """A model in one pool, on so many of its GPUs."""

    gpus: int
    shortfall: str | None
    """What there is no room for, with the figure; None where it fits."""

    parts: str
    """Of what is needed, in words."""

    max_model_len: int | None = None
    held_by: str = ""
    """Why its context is held to `max_model_len`, in words."""

    sequences: int | None = None
    is_roomy: bool = True
    """It has room for all that is asked at once, and for the whole context."""


def place(size: ModelSize, engine: EngineRules, need: TaskNeed, pools: Sequence[PoolRules]) -> Placement | NoRoom:
    """The smallest of `pools` that a model fits into."""
    loading = [pool for pool in pools if _loads(size, pool)]
    if not loading:
        return NoRoom(_not_loaded(size, pools))
    required = engine.batch_invariant == "required"
    usable = [pool for pool in loading if not (required and pool.lacks_invariant_kernels)]
    if not usable:
        return NoRoom(
            "policy requires batch-invariant kernels, which take GPUs of compute capability "
            f"{LEAST_CAPABILITY:.1f} or higher, and no pool has such"
        )
    # Of two pools of one capacity, the first that policy names.
    by_capacity = sorted(usable, key=lambda each: each.capacity_gib)
    for pool in by_capacity:
        fit = _best(size, engine, need, pool)
        if fit.shortfall is None:
            return Placement(pool, fit.gpus, fit.max_model_len, fit.sequences, _words(fit, engine))
    held = _place_held(size, engine, need, by_capacity)
    if held is not None:
        return held
    largest = by_capacity[-1]
    reason = f"{_best(size, engine, need, largest).shortfall}; no pool is larger"
    if size.config is not None and need.max_tokens is None:
        # The whole context is made room for, which few answers fill.
        short = TaskNeed(need.prompt_tokens, SHORT_ANSWER)
        if any(_best(size, engine, short, pool).shortfall is None for pool in by_capacity):
            tokens = _needed_context(size.config, short, _whole_context(size.config, engine)[0])
            reason += (
                f". No max_tokens ends an answer before the context does: with one of {SHORT_ANSWER}, or a"
                f" max_model_len of {tokens} for this model, in the operator's policy it would fit"
            )
    return NoRoom(reason)


def _place_held(
    size: ModelSize, engine: EngineRules, need: TaskNeed, by_capacity: Sequence[PoolRules]
) -> Placement | None:
    """With the longest context, of powers of two, that there is room for; None where that is too short."""
    if size.config is None or need.max_tokens is not None:
        return None
    whole, _ = _whole_context(size.config, engine)
    for power in reversed(range((whole - 1).bit_length())):
        tokens = 2**power
        if tokens < max(need.prompt_tokens + LONG_ANSWER, least_tokens(size.config.model_type)):
            break
        shorter = engine.model_copy(update={"max_model_len": tokens})
        for pool in by_capacity:
            fit = _best(size, shorter, need, pool)
            if fit.shortfall is None:
                held = replace(fit, max_model_len=tokens, held_by=f"as no pool has room for all {whole}")
                return Placement(pool, fit.gpus, tokens, fit.sequences, _words(held, engine))
    return None


def place_in(size: ModelSize, engine: EngineRules, need: TaskNeed, pool: PoolRules) -> Placement | NoRoom:
    """A model in the pool that policy names for it, whatever memory it is reckoned to need."""
    if not _loads(size, pool):
        return NoRoom(_not_loaded(size, [pool]))
    fit = _best(size, engine, need, pool)
    reckoned = _words(fit, engine) if fit.shortfall is None else f"although {fit.shortfall}"
    return Placement(pool, fit.gpus, fit.max_model_len, fit.sequences, f"as policy says, {reckoned}")


def _loads(size: ModelSize, pool: PoolRules) -> bool:
    return size.config is None or is_loaded_on(size.config.quantization, pool.device)


def _not_loaded(size: ModelSize, pools: Sequence[PoolRules]) -> str:
    method = size.config.quantization if size.config is not None else None
    packed = f"its weights are quantised as {method}, which the farm's engine (vLLM)"
    if not is_loaded_on(method, "gpu"):
        return f"{packed} does not load on any device; weights that are published unquantised can be run"
    named = ", ".join(pool.name for pool in pools)
    return f"{packed} loads on GPUs alone, and {named} {'has' if len(pools) == 1 else 'have'} none"


def _best(size: ModelSize, engine: EngineRules, need: TaskNeed, pool: PoolRules) -> _Fit:
    """The fewest GPUs with room for everything; else the most."""
    if pool.device == "cpu":
        return _fit(size, engine, need, pool, 0)
    fits = [_fit(size, engine, need, pool, gpus) for gpus in range(1, pool.gpus + 1) if size.can_be_split(gpus)]
    return next((fit for fit in fits if fit.shortfall is None and fit.is_roomy), fits[-1])


def _fit(size: ModelSize, engine: EngineRules, need: TaskNeed, pool: PoolRules, gpus: int) -> _Fit:
    if size.config is None:
        return _fit_of_files(size, engine, pool, gpus)
    whole, capped = _whole_context(size.config, engine)
    needed = _needed_context(size.config, need, whole)
    if gpus == 0:
        return _fit_on_a_machine(size, engine, pool, needed, whole, capped)
    weights = size.weights_bytes(engine.dtype)
    share = -(-weights // gpus) + GPU_OVERHEAD_BYTES
    cache = partial(size.cache_bytes, dtype=engine.dtype, gpus=gpus, in_flight=tokens_in_flight(pool.memory_gib))
    one, two, at_once = (cache(needed, sequences=count) for count in (1, 2, engine.concurrency))
    whole_one = cache(whole)
    limit = int(pool.memory_gib * GIB * ENGINE_PART)
    parts = (
        f"{_gib(weights)} for weights, and {_gib(one)} for the KV cache of {needed} tokens and"
        f" {_gib(GPU_OVERHEAD_BYTES)} for the engine on {'each of its GPUs' if gpus > 1 else 'its GPU'}"
    )
    shortfall = None
    if share + one > limit:
        most = "" if gpus == pool.gpus else f", of which its shape lets it use {gpus}"
        shortfall = (
            f"the model needs about {_gib((share + one) * gpus)} ({parts}), and pool {pool.name} gives"
            f" {_gib(limit * pool.gpus)} ({100 * ENGINE_PART:.0f} % of {pool.gpus} × {pool.memory_gib:g} GiB{most})"
        )
    return _Fit(
        gpus=gpus,
        shortfall=shortfall,
        parts=parts,
        max_model_len=capped if share + whole_one <= limit else needed,
        held_by=_ALL_THERE_IS if share + whole_one <= limit else _ENOUGH,
        sequences=_sequences(one, two, engine, limit - share),
        is_roomy=share + max(whole_one, at_once) <= limit,
    )


def _needed_context(config: ModelConfig, need: TaskNeed, whole: int) -> int:
    """Tokens that there must be room for, of the `whole` that there may be."""
    tokens = whole if need.max_tokens is None else min(whole, need.prompt_tokens + need.max_tokens)
    least = least_tokens(config.model_type)
    return least if tokens < least <= whole else tokens


def _whole_context(config: ModelConfig, engine: EngineRules) -> tuple[int, int | None]:
    """Tokens that an engine has room for if nothing is cut, and to what policy's wish is cut, as vLLM refuses more."""
    if engine.max_model_len is None:
        return config.context_tokens, None
    if not config.names_length:
        return engine.max_model_len, None
    longest = config.context_tokens if config.longest_tokens is None else config.longest_tokens
    return min(engine.max_model_len, longest), longest if engine.max_model_len > longest else None


def _fit_on_a_machine(
    size: ModelSize, engine: EngineRules, pool: PoolRules, needed: int, whole: int, capped: int | None
) -> _Fit:
    """On a CPU pool, where policy says how much the cache takes."""
    weights, cache = size.weights_bytes(engine.dtype), engine.kv_cache_gib * GIB
    one, two = (size.cache_bytes(needed, engine.dtype, sequences=count) for count in (1, 2))
    held = int(weights * WEIGHTS_OVERHEAD) + cache
    parts = f"{_gib(weights)} for weights, {_gib(cache)} for the KV cache"
    shortfall = None
    if held > room_on_a_machine(pool.memory_gib * GIB):
        shortfall = f"the model needs about {_gib(held)} ({parts}, the rest for the engine), and {_given(pool)}"
    elif one > cache:
        # However much memory there is: the engine refuses to start.
        shortfall = (
            f"one sequence of {needed} tokens takes {_gib(one)} of KV cache, and on {pool.name} policy gives it"
            f" {engine.kv_cache_gib} GiB (kv_cache_gib)"
        )
    fits_whole = size.cache_bytes(whole, engine.dtype) <= cache
    return _Fit(
        gpus=0,
        shortfall=shortfall,
        parts=parts,
        max_model_len=capped if fits_whole else needed,
        held_by=_ALL_THERE_IS if fits_whole else _ENOUGH,
        sequences=_sequences(one, two, engine, cache),
    )


def _fit_of_files(size: ModelSize, engine: EngineRules, pool: PoolRules, gpus: int) -> _Fit:
    """Where nothing but the files' size is known."""
    held = size.file_bytes * WEIGHTS_OVERHEAD + engine.kv_cache_gib * GIB
    parts = f"about {_gib(held)}, by its files' size alone: {size.config_problem}"
    shortfall = None
    if gpus == 0 and held > room_on_a_machine(pool.memory_gib * GIB):
        shortfall = f"the model needs {parts}; and {_given(pool)}"
    elif gpus > 0 and held > pool.memory_gib * GIB * gpus:
        shortfall = f"the model needs {parts}; and pool {pool.name} has {pool.capacity_gib:.0f} GiB"
    return _Fit(gpus=gpus, shortfall=shortfall, parts=parts)


def _given(pool: PoolRules) -> str:
    """What a CPU pool gives to engines, in words."""
    return (
        f"pool {pool.name} gives {_gib(max(room_on_a_machine(pool.memory_gib * GIB), 0))} ({100 * ENGINE_PART:.0f} % of"
        f" {pool.memory_gib:g} GiB, less {_gib(MACHINE_OVERHEAD_BYTES)} for the system and the farm)"
    )


def _sequences(one: int, two: int, engine: EngineRules, free_bytes: int) -> int:
    """For how many sequences there is room, by what one and two of them take, up to as many as are asked at once."""
    return max(min(1 + (free_bytes - one) // max(two - one, 1), engine.concurrency), 0)


def _words(fit: _Fit, engine: EngineRules) -> str:
    words = f"on {fit.gpus} GPU{'s' if fit.gpus > 1 else ''}" if fit.gpus else "on the CPU"
    words += f": {fit.parts}"
    if fit.sequences is not None:
        words += f"; room for {fit.sequences} of {engine.concurrency} sequences of full length at once"
    if fit.max_model_len is not None:
        words += f"; context held to {fit.max_model_len} tokens, {fit.held_by}"
    return words


def _gib(count: float) -> str:
    gib = count / GIB
    return f"{gib:.0f} GiB" if gib >= 10 else f"{gib:.1f} GiB"
