"""One entry of `.eval_results/*.yaml`, strictly.

Format: https://huggingface.co/docs/hub/eval-results. Beside it real files hold nulls, `verify_token` and keys of their
own, which are read past with a warning.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, RootModel, ValidationInfo, model_validator

from specs.contract import Contract
from specs.hub.result_fields import (
    DatasetId,
    IsoDate,
    Notes,
    Revision,
    ScoreValue,
    SourceName,
    TaskId,
    VerifyToken,
    WebAddress,
    quoted,
    refuse,
    warn,
)


class _Section(Contract):
    """A mapping of the file. Null means absent; unknown keys are named and left out."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            raise refuse("must be a mapping with {keys}, not {value}", keys=cls._keys(), value=quoted(data))
        known: dict[str, object] = {}
        for key, value in data.items():
            if value is None:
                continue
            if key == "verify_token" and data.get("verifyToken") is None:
                warn(info, "verify_token: the Hub's name of this key is verifyToken")
                known["verifyToken"] = value
            elif isinstance(key, str) and key in {field.alias or name for name, field in cls.model_fields.items()}:
                known[key] = value
            else:
                warn(info, f"{quoted(key)} is not a key of the format and is left out")
        return known

    @classmethod
    def _keys(cls) -> str:
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        return " and ".join(required)


class ResultDataset(_Section):
    """Which task of which benchmark."""

    id: DatasetId
    """Id of the benchmark's dataset repo, owner/name."""

    task_id: TaskId | None = None
    """As the benchmark's eval.yaml spells it. Optional until January 2026."""

    revision: Revision = None
    """Commit of the dataset repo."""

    @model_validator(mode="before")
    @classmethod
    def _task_is_named(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, dict) and data.get("task_id") is None:
            warn(info, "dataset.task_id is missing; name a task of the benchmark's eval.yaml, required since 2026")
        return data


class ResultSource(_Section):
    """Who says so, and where."""

    url: WebAddress
    name: SourceName = None
    user: SourceName = None
    org: SourceName = None


class ResultItem(_Section):
    """One score. The file is a list of these."""

    dataset: ResultDataset
    value: ScoreValue
    """The score as the author writes it: a fraction or a percentage, which the format does not say."""

    verify_token: Annotated[VerifyToken, Field(alias="verifyToken")] = None
    """A compact JWS that proves the score."""

    date: IsoDate = None
    """When the evaluation ran, ISO 8601."""

    source: ResultSource | None = None
    notes: Notes = None
    """The setup in free text, such as "no-tools"."""

    @model_validator(mode="before")
    @classmethod
    def _value_stands_where_it_belongs(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("value") is None and "metrics" in data:
            raise refuse("value is missing; an older format had it in metrics[].value, write it beside dataset")
        return data


class EvalResults(RootModel[list[ResultItem]]):
    """A whole file of `.eval_results/`."""
