"""What an operator says of a pool: the workers of one class, and what they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from specs.contract import Contract
from specs.engines.batch_invariance import LEAST_CAPABILITY
from specs.queues import pool_queue


class PoolRules(Contract):
    """A class of workers; one Celery queue each."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    device: Literal["cpu", "gpu"] = "gpu"
    gpus: Annotated[int, Field(ge=0)] = 1
    """GPUs of one worker; a model is split over as many of them as it needs. A CPU pool has 0, stated or not."""

    memory_gib: Annotated[float, Field(gt=0)]
    """Of one GPU, or of the machine for a CPU pool. Nobody guesses it: models go where this says that they fit."""

    compute_capability: Annotated[float, Field(ge=3, lt=100)] | None = None
    """Of its GPUs, 9.0 for an H100 say; None where the operator does not say."""

    @model_validator(mode="before")
    @classmethod
    def _cpus_are_no_gpus(cls, given: Any) -> Any:
        """What a run costs goes by GPUs: one that nobody meant has a CPU taken to be as fast as one."""
        if isinstance(given, Mapping) and given.get("device") == "cpu":
            return {"gpus": 0, **given}
        return given

    @model_validator(mode="after")
    def _has_what_it_is_a_pool_of(self) -> PoolRules:
        if self.device == "cpu" and self.gpus:
            raise ValueError(f"pool {self.name} is a CPU pool, and has no gpus")
        if self.device == "gpu" and not self.gpus:
            raise ValueError(f"pool {self.name} is a GPU pool, and has one GPU at least")
        return self

    @property
    def queue(self) -> str:
        """The Celery queue that the pool's workers consume."""
        return pool_queue(self.name)

    @property
    def capacity_gib(self) -> float:
        """Memory that one worker can give to a model, with its KV cache."""
        return self.memory_gib * max(self.gpus, 1)

    @property
    def lacks_invariant_kernels(self) -> bool:
        """Whether no engine here is batch-invariant; a pool that does not say what its GPUs are has to try."""
        return self.device == "cpu" or (
            self.compute_capability is not None and self.compute_capability < LEAST_CAPABILITY
        )
