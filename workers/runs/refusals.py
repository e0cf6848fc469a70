"""Whose fault it is that the engine refuses every question of a run.

vLLM (0.32) answers 400 as `BadRequestError` to what has little in common: to what a chat template raises, to images for
a model that sees none, to a setting out of its bounds, and to whatever ends as a ValueError within it
(`create_error_response` in vllm/entrypoints/serve/exception_handling/error_response.py). Its words do not tell whose
fault that is, as a template's are its author's. So the engine is asked two questions more: a plain one without any
settings, which every model has to take, and that one with the farm's settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import httpx2

from specs.errors import ReprofarmError
from specs.text import clean
from workers.engines.local_http import local_http
from workers.errors import ModelError, RequestsRefused, RunError, SpecError
from workers.runs.generation import request_arguments
from workers.runs.run_request import ENGINE_KEY_ENV, RunRequest

_REFUSED = re.compile(r"BadRequestError\(\\*['\"]Error code: 400 - (.*?)\\*['\"]\)\\*['\"]?\)?\s*")
"""How Inspect ends an error of vLLM's about a request that it does not take; what was asked stands before that."""

_OF_THE_FORM = re.compile(r"\d+ validation errors?:")
"""How vLLM begins where a request has not the form of one, as Inspect or the farm wrote it:
`validation_exception_handler` in vllm/entrypoints/serve/exception_handling/handlers/validation.py."""

_MAX_REFUSAL_CHARS = 600
_PATIENCE_SECONDS = 120.0


class EngineRefuses(RunError):  # noqa: N818 - what it does
    """The engine refused every question; `whose_fault` tells why."""

    def __init__(self, words: str) -> None:
        super().__init__(f"the engine refuses every question: {words}")
        self.words = words
        """The engine's own."""


def refusal(message: str) -> str | None:
    """The engine's words, where an answer's error says that it refused what it was asked."""
    place = message.rfind("BadRequestError(")
    found = _REFUSED.fullmatch(message, place) if place >= 0 else None
    return clean(found[1].replace("\\'", "'"), _MAX_REFUSAL_CHARS) if found is not None else None


def whose_fault(refused: EngineRefuses, request: RunRequest) -> ReprofarmError:
    """The error that a run is in which the engine refused every question: the model's, the spec's or our own."""
    settings = request_arguments(request.defaults)
    body = settings.pop("extra_body", None) or {}
    try:
        if not _takes(request, {}):
            return ModelError(f"the engine refuses every question to this model, even a plain one: {refused.words}")
        if not _takes(request, {**settings, **body}):
            return RequestsRefused(
                "the engine takes no question with the farm's sampling settings, which the farm's operator has to"
                f" change: {refused.words}"
            )
    except httpx2.HTTPError as error:
        return RunError(f"{refused}; and it could not be asked why: {type(error).__name__}: {error}")
    if _OF_THE_FORM.match(refused.words):
        return RequestsRefused(f"the engine says that the farm's requests are malformed: {refused.words}")
    return SpecError(
        "the engine answers plain questions to this model, and refuses every one as the eval.yaml asks it:"
        f" {refused.words}; a chat template that takes no message from the system says so, or a model that sees no"
        " images"
    )


def _takes(request: RunRequest, settings: Mapping[str, Any]) -> bool:
    """Whether the engine answers a plain question with these settings."""
    answer = local_http().post(
        f"{request.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {os.environ[ENGINE_KEY_ENV]}"},
        json={
            **settings,
            "model": request.model.model_id,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
        },
        timeout=_PATIENCE_SECONDS,
    )
    if answer.status_code == httpx2.codes.BAD_REQUEST:
        return False
    answer.raise_for_status()
    return True
