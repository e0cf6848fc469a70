"""What rows hold as JSON, read back. After a step back to an older version, that may be more than this one knows."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import ColumnElement, String, literal, type_coerce

from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.run_settings import RunSettings
from scheduler.database.tables import Claim, Reproduction
from specs.messages import said

T = TypeVar("T", bound=BaseModel)


class OtherVersion(ValueError):  # noqa: N818 - a condition, not a mistake
    """Another version of the farm wrote it, and this one cannot read it: that is nobody's failure, and can wait."""


def settings_of(reproduction: Reproduction) -> RunSettings:
    """What a reproduction runs with.

    Raises:
        OtherVersion: this version cannot read that.
    """
    return read(RunSettings, reproduction.settings, "what it is to run with")


def rules_of(claim: Claim) -> JudgingRules:
    """How a planned claim is judged.

    Raises:
        OtherVersion: this version cannot read that.
    """
    return read(JudgingRules, claim.rules, f"how claim {claim.claim_id} is to be judged")


def version_of(name: str) -> ColumnElement[str | None]:
    """Of a package that a reproduction ran with, as its measurement says; None where it does not, or there is none."""
    return type_coerce(Reproduction.measurement["circumstances"]["versions"][name].as_string(), String)


def scale_of(claim: Claim | type[Claim]) -> ColumnElement[str | None]:
    """On which scale a claim's value was read, as its badge states it; NULL where it was never decided."""
    if isinstance(claim, Claim):
        return literal((claim.rules or {}).get("scale"), String)
    return type_coerce(claim.rules["scale"].as_string(), String)


def read_known(kind: type[T], stored: object) -> T:
    """As much of a value as this version knows, to be shown: what a later version added to it stays unsaid.

    Nothing is decided by it: `read` reads it whole.
    """
    return kind.model_validate(stored, strict=False, extra="ignore")


def read(kind: type[T], stored: object, what: str) -> T:
    """A value as a row has it.

    Raises:
        OtherVersion: this version cannot read that.
    """
    try:
        return kind.model_validate(stored, strict=False)
    except ValidationError as error:
        words = f"this version of the farm cannot read {what} ({said(error)}); the one that wrote it can"
        raise OtherVersion(words) from error
