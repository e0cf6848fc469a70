"""What the API takes and answers, version 1, where something is asked to be done. As in `specs.api_v1.views`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from specs.api_v1.access import Asked
from specs.api_v1.views import View
from specs.ids import has_namespace, is_repo_id, is_task_id
from specs.text import clean

MAX_WHY_CHARS = 1000

REVISION = r"^(main|refs/pr/[0-9]{1,9}|[0-9a-f]{7,64})$"


def _names_a_revision(value: object) -> object:
    # Before the pattern is, which says nothing to people.
    if isinstance(value, str) and not re.match(REVISION, value):
        raise ValueError("not main, refs/pr/3 (say), or 7 characters or more of a commit's id (0-9 and a-f)")
    return value


Revision = Annotated[str, BeforeValidator(_names_a_revision), Field(pattern=REVISION)]
"""Of a model repo: `main`, a pull request, or a commit or its start."""


class Reason(Asked):
    """Why something is asked for; it stands in the record of events, next to who asked."""

    why: Annotated[str, Field(min_length=1, max_length=MAX_WHY_CHARS)]

    @field_validator("why")
    @classmethod
    def _says_something(cls, value: str) -> str:
        value = clean(value, MAX_WHY_CHARS)
        if not value:
            raise ValueError("say why, in words that can be seen")
        return value


class ApprovalReason(Reason):
    """Why a claim may cost what it is taken to cost."""

    over_budget: bool = False
    """It may also exceed the limits of a day."""


class VerificationRequest(Reason):
    """The claims of a model on a benchmark are to be verified, or verified again."""

    model: Annotated[str, Field(max_length=200)]
    dataset: Annotated[str, Field(max_length=200)]
    task: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Null is every task."""

    revision: Revision | None = None
    """Of the model repo: `main`, a pull request (`refs/pr/3`), or the commit that should stand there, or its start.
    Null is whatever there is."""

    @field_validator("model", "dataset")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if not (has_namespace(value) and is_repo_id(value)):
            raise ValueError("an id of the Hub: namespace/name")
        return value

    @field_validator("task")
    @classmethod
    def _can_be_a_task(cls, value: str | None) -> str | None:
        if value is not None and not is_task_id(value):
            raise ValueError("no task is called so")
        return value


class Done(View):
    """What was done, and what happens next."""

    lines: tuple[str, ...]
    """For people."""

    claim_ids: tuple[str, ...]
    """Ids of the claims to follow from now on; an entry that became a new claim has a new one."""
