"""eval.yaml as a closed model, for JSON Schema: what an author's editor can check while typing.

`specs.hub.eval_yaml` reads the files themselves and sees more. Importing this module imports inspect_ai.
"""

from __future__ import annotations

from typing import Annotated, Literal

from inspect_ai._eval.task.hf import HFTask
from pydantic import BaseModel, ConfigDict, Field, RootModel

from specs.hub.frameworks import INSPECT_AI, KNOWN_FRAMEWORKS
from specs.ids import MAX_TASK_ID_CHARS


class InspectTask(HFTask):
    """A task that Inspect runs. The Hub needs its id, which Inspect itself asks for only among several."""

    id: Annotated[str, Field(min_length=1, max_length=MAX_TASK_ID_CHARS)]


class RegisteredTask(BaseModel):
    """A task that another framework runs: the Hub keeps a leaderboard for it."""

    id: Annotated[str, Field(min_length=1, max_length=MAX_TASK_ID_CHARS)]
    config: str | None = None
    split: str | None = None


class _Benchmark(BaseModel):
    """What the Hub reads of every benchmark; other keys at the top are other tools'."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1)]
    description: Annotated[str, Field(min_length=1)]


class InspectBenchmark(_Benchmark):
    """A benchmark whose eval.yaml says how to run it."""

    evaluation_framework: Literal["inspect-ai"] = "inspect-ai"
    tasks: Annotated[list[InspectTask], Field(min_length=1)]


class OtherBenchmark(_Benchmark):
    """A benchmark that another framework runs."""

    evaluation_framework: Annotated[str, Field(json_schema_extra={"enum": sorted(KNOWN_FRAMEWORKS - {INSPECT_AI})})]
    tasks: Annotated[list[RegisteredTask], Field(min_length=1)]


class EvalYaml(RootModel[InspectBenchmark | OtherBenchmark]):
    """An eval.yaml."""
