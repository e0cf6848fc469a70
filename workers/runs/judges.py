"""Judges that a spec names, as Inspect models at the endpoints that policy gives for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from specs.policy.rules import JudgeEndpoint
from workers.errors import RunError
from workers.processes.guarded import network_environment
from workers.processes.ports import ENGINE_HOST

_MODELS = "openai-api/judge"


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
        models[name] = f"{_MODELS}{index}/{endpoint.model}"
    return models


def is_judge(model: str) -> bool:
    """Whether that is a name by `judge_models`."""
    return model.startswith(_MODELS)


def judge_environment(endpoints: Iterable[JudgeEndpoint]) -> dict[str, str]:
    """The part of this process's environment that a run with these judges needs: their keys, and the way to them."""
    asked = tuple(endpoints)
    if not asked:
        return {}
    names = {endpoint.api_key_env for endpoint in asked if endpoint.api_key_env is not None}
    keys = {name: value for name in sorted(names) if (value := os.environ.get(name))}
    network = network_environment()
    # The engine is asked by the same process, and no proxy reaches it. Where there are both, Python goes by the former.
    direct = [network.pop(name) for name in ("no_proxy", "NO_PROXY") if name in network]
    return {**keys, **network, "no_proxy": ",".join([ENGINE_HOST, *direct[:1]])}


def who_judged(judges: Iterable[str | None], endpoints: Mapping[str, JudgeEndpoint]) -> dict[str, str]:
    """For the record: who played each judge that the spec names; `self` is the evaluated model."""
    return {
        name or "self": f"{endpoints[name].model} at {endpoints[name].base_url}" if name else "self" for name in judges
    }
