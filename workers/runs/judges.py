"""Judges that a spec names, as Inspect models at the endpoints that policy gives for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from specs.policy.rules import JudgeEndpoint
from workers.errors import RunError


def judge_models(endpoints: Mapping[str, JudgeEndpoint]) -> dict[str, str]:
    """Names of judges to names of Inspect models (its provider for OpenAI-compatible services).

    Inspect reads such a service's address and key from this process's environment, so they are put there, under a name
    for each judge: no judge gets another's key, nor the engine's.

    Raises:
        RunError: a key is not in the worker's environment.
    """
    models = {}
    for index, (name, endpoint) in enumerate(sorted(endpoints.items())):
        key = "none" if endpoint.api_key_env is None else os.environ.get(endpoint.api_key_env)
        if not key:
            raise RunError(f"the judge {name} needs {endpoint.api_key_env} in the worker's environment")
        os.environ[f"JUDGE{index}_BASE_URL"] = endpoint.base_url
        os.environ[f"JUDGE{index}_API_KEY"] = key
        models[name] = f"openai-api/judge{index}/{endpoint.model}"
    return models


def judge_keys(endpoints: Iterable[JudgeEndpoint]) -> dict[str, str]:
    """The part of this process's environment that a run with these judges needs."""
    names = {endpoint.api_key_env for endpoint in endpoints if endpoint.api_key_env is not None}
    return {name: value for name in sorted(names) if (value := os.environ.get(name))}


def who_judged(judges: Iterable[str | None], endpoints: Mapping[str, JudgeEndpoint]) -> dict[str, str]:
    """For the record: who played each judge that the spec names; `self` is the evaluated model."""
    return {
        name or "self": f"{endpoints[name].model} at {endpoints[name].base_url}" if name else "self" for name in judges
    }
