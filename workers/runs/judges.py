"""Judges that a spec names, as Inspect models at the endpoints that policy gives for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import httpx2
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_chain, wait_fixed

from specs.policy.judges import JudgeEndpoint
from specs.processes.hub_client_hooks import seconds_asked
from specs.text import clean
from workers.errors import JudgeAway, JudgeRefuses, RunError
from workers.processes.guarded import network_environment
from workers.processes.ports import ENGINE_HOST

_MODELS = "openai-api/judge"
_PAUSES_SECONDS = (2.0, 5.0)
"""Before a judge that stumbles is asked again, in `check_judges`."""

_PATIENCE = httpx2.Timeout(120.0, connect=20.0)
"""With a judge that has a queue."""

_REFUSALS: dict[int, str] = {
    httpx2.codes.UNAUTHORIZED: "does not take its key",
    httpx2.codes.PAYMENT_REQUIRED: "wants to be paid",
    httpx2.codes.FORBIDDEN: "does not let its key use the model",
    httpx2.codes.NOT_FOUND: "does not know the model, or the address is wrong",
}


def judge_models(endpoints: Mapping[str, JudgeEndpoint]) -> dict[str, str]:
    """Names of judges to names of Inspect models (its provider for OpenAI-compatible services).

    Inspect reads such a service's address and key from this process's environment, so they are put there, under a name
    for each judge: no judge gets another's key, nor the engine's.

    Raises:
        RunError: a key is not in the worker's environment.
        JudgeRefuses: one is no key.
    """
    models = {}
    for index, (name, endpoint) in enumerate(sorted(endpoints.items())):
        key = _key(name, endpoint)
        if not key:
            raise RunError(f"the judge {name} needs {endpoint.api_key_env} in the worker's environment")
        os.environ[f"JUDGE{index}_BASE_URL"] = endpoint.base_url
        os.environ[f"JUDGE{index}_API_KEY"] = key
        models[name] = f"{_MODELS}{index}/{endpoint.model}"
    return models


def check_judges(endpoints: Mapping[str, JudgeEndpoint]) -> None:
    """Ask each judge, by its name, one short question, with the key and the model that a run will use.

    Whatever else it says to that, it is there: it may not like the question's form.

    Raises:
        JudgeAway: it cannot be reached, or is not well or busy several times in a row.
        JudgeRefuses: it does not take the key or the model, or the key is not in this process's environment or none
            that a request can carry.
    """
    patiently = Retrying(
        stop=stop_after_attempt(len(_PAUSES_SECONDS) + 1),
        wait=wait_chain(*map(wait_fixed, _PAUSES_SECONDS)),
        retry=retry_if_exception_type(JudgeAway),
        reraise=True,
    )
    for name, endpoint in sorted(endpoints.items()):
        patiently(_ask, name, endpoint)


def _ask(name: str, endpoint: JudgeEndpoint) -> None:
    key = _key(name, endpoint)
    if not key:
        words = f"the farm's operator must set {endpoint.api_key_env} for the workers: the key of the judge {name}"
        raise JudgeRefuses(words)
    who = f"the judge {name}, {endpoint.model} at {endpoint.base_url},"
    url = httpx2.URL(f"{endpoint.base_url.rstrip('/')}/chat/completions")
    body = {"model": endpoint.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
    try:
        # By the ways that `judge_environment` leaves to a run.
        with httpx2.Client(timeout=_PATIENCE, trust_env=url.host != ENGINE_HOST) as client:
            answer = client.post(url, headers={"Authorization": f"Bearer {key}"}, json=body)
    except httpx2.HTTPError as error:
        raise JudgeAway(clean(f"{who} cannot be reached: {type(error).__name__}: {error}", 500)) from error
    if (why := _REFUSALS.get(answer.status_code)) is not None:
        where = "policy" if endpoint.api_key_env is None else f"{endpoint.api_key_env}, or at policy"
        raise JudgeRefuses(f"the farm's operator must look at {where}: {who} {why} ({answer.status_code})")
    if answer.is_server_error or answer.status_code == httpx2.codes.TOO_MANY_REQUESTS:
        raise JudgeAway(f"{who} answers {answer.status_code}", seconds_asked(answer.headers))


def _key(name: str, endpoint: JudgeEndpoint) -> str:
    """A judge's key, in this process's environment; any will do where it wants none.

    Raises:
        JudgeRefuses: what is there is no key. A request that has it in its header would fail with it in its words.
    """
    if endpoint.api_key_env is None:
        return "none"
    key = _in_environment(endpoint.api_key_env)
    if not (key.isascii() and key.isprintable()):
        words = f"the farm's operator must look at {endpoint.api_key_env}: the key of the judge {name}"
        raise JudgeRefuses(f"{words} has other characters than printable ASCII")
    return key


def _in_environment(variable: str) -> str:
    """The key there, without what is around it: secrets that are made of a line end in a line break."""
    return os.environ.get(variable, "").strip()


def is_judge(model: str) -> bool:
    """Whether that is a name by `judge_models`."""
    return model.startswith(_MODELS)


def judge_environment(endpoints: Iterable[JudgeEndpoint]) -> dict[str, str]:
    """The part of this process's environment that a run with these judges needs: their keys, and the way to them."""
    asked = tuple(endpoints)
    if not asked:
        return {}
    names = {endpoint.api_key_env for endpoint in asked if endpoint.api_key_env is not None}
    keys = {name: value for name in sorted(names) if (value := _in_environment(name))}
    network = network_environment()
    # The engine is asked by the same process, and no proxy reaches it. Where there are both, Python goes by the former.
    direct = [network.pop(name) for name in ("no_proxy", "NO_PROXY") if name in network]
    return {**keys, **network, "no_proxy": ",".join([ENGINE_HOST, *direct[:1]])}


def who_judged(judges: Iterable[str | None], endpoints: Mapping[str, JudgeEndpoint]) -> dict[str, str]:
    """For the record: who played each judge that the spec names; `self` is the evaluated model."""
    return {
        name or "self": f"{endpoints[name].model} at {endpoints[name].base_url}" if name else "self" for name in judges
    }
