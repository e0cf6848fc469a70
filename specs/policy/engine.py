"""How the engine is started: for every model, for those of a namespace, and for one; and which are not run at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.contract import Contract
from specs.engines.model_weights import EngineDtype
from specs.policy.switched_off import Off
from specs.validation_errors import must_be

BatchInvariant = Annotated[Literal["off", "where_possible", "required"], Off]
"""`where_possible` uses such kernels on hardware that has them; `required` runs on no other."""

ReasoningParser = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")]

AttentionBackend = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,60}$")]

Denial = Annotated[
    Annotated[str, Field(min_length=1, max_length=500)] | Literal[False],
    must_be("the reason, in 1 to 500 characters, or false"),
]

ModelOrNamespace = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/(\*|[A-Za-z0-9][\w.-]*))?$")],
    must_be("a model id or NAMESPACE/*"),
]


class EngineRules(Contract):
    """How the engine is started. Recorded in every badge."""

    dtype: EngineDtype = "auto"
    max_model_len: Annotated[int, Field(gt=0)] | None = None
    """Tokens of context. None is the model's own length; if there is no room for that, what the task needs; and if the
    task may need all of it, what there is room for."""

    enforce_eager: bool = False
    """Skip graph capture: up sooner, slower after."""

    batch_invariant: BatchInvariant = "off"
    """Kernels whose sums do not depend on what else is in a batch: slower, and greedy answers repeat."""

    reasoning_parser: ReasoningParser | None = None
    """What parts a model's thoughts from its answer, by vLLM's name for it (`--reasoning-parser`). None leaves them to
    Inspect, which knows `<think>` where the model itself writes it."""

    # Left out where it is not set: workers and keys of runs of earlier versions know of none.
    attention_backend: Annotated[AttentionBackend | None, Field(exclude_if=lambda value: value is None)] = None
    """What computes attention, by vLLM's name for it (`--attention-backend`). None leaves it to vLLM, which may choose
    FlashInfer where there is no CUDA toolkit to compile it with."""

    model_format: Annotated[Literal["hf"] | None, Field(exclude_if=lambda value: value is None)] = None
    """Whose config and tokenizer of a model are read, by vLLM's name (`--config-format`, `--tokenizer-mode`). None
    leaves it to vLLM, save where Mistral's own files stand beside those of Transformers, which alone are fetched."""

    check_template: Annotated[bool, Field(exclude_if=lambda value: value)] = True
    """End a run as the model's failure where its chat template depends on what is asked, as one with answers does."""

    concurrency: Annotated[int, Field(ge=1)] = 32
    """Requests in flight at once."""

    start_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """An engine that is not up by then has failed."""

    kv_cache_gib: Annotated[int, Field(ge=1)] = 2
    """On the CPU build only: memory for the KV cache."""

    sleep: bool = False
    """On GPUs only: an engine that gives way to another keeps its weights in the host's memory, as far as that goes,
    and is awake again within seconds."""


class ModelRules(Contract):
    """What holds for a model, or for all models of a namespace; None leaves the choice to the wider rule."""

    pool: str | None = None
    """The pool that it runs in, whatever its size is reckoned to be; None is the smallest that it fits into."""

    dtype: EngineDtype | None = None
    max_model_len: Annotated[int, Field(gt=0)] | None = None
    enforce_eager: bool | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    batch_invariant: BatchInvariant | None = None
    reasoning_parser: ReasoningParser | None = None
    attention_backend: AttentionBackend | None = None
    check_template: bool | None = None
    deny: Denial | None = None
    """Why this farm does not run it, for whoever claims a score of it; `false` lets it run although its namespace is
    denied."""


MODEL_ENGINE_RULES = tuple(name for name in ModelRules.model_fields if name in EngineRules.model_fields)
"""Of `ModelRules`, those that stand for the engine's own."""
