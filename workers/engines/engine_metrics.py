"""What an engine says of itself at `/metrics`, by vLLM's names."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from workers.engines.local_http import local_http

_PATIENCE_SECONDS = 2.0
_MAX_BYTES = 4_000_000
_GENERATED = "vllm:generation_tokens"
_WAITING = "vllm:num_requests_waiting"


@dataclass(frozen=True)
class EngineFigures:
    """At one moment, over all of an engine's parts; None where it does not say."""

    generated: float | None
    """Tokens put out since it is up."""

    waiting: float | None
    """Requests that it took and that do not fit yet."""


def engine_figures(base_url: str) -> EngineFigures | None:
    """The figures of the engine whose API that is; None where it does not answer."""
    try:
        answer = local_http().get(f"{base_url.removesuffix('/v1')}/metrics", timeout=_PATIENCE_SECONDS)
        if not answer.is_success or len(answer.content) > _MAX_BYTES:
            return None
        lines = [line for line in answer.text.splitlines() if line.startswith((_GENERATED, _WAITING))]
        families = text_string_to_metric_families("\n".join(lines) + "\n")
        samples = [(each.name, each.value) for family in families for each in family.samples]
    except (httpx2.HTTPError, ValueError):
        return None
    return EngineFigures(
        generated=_total(samples, f"{_GENERATED}_total"),
        waiting=_total(samples, _WAITING),
    )


def _total(samples: list[tuple[str, float]], name: str) -> float | None:
    values = [value for found, value in samples if found == name]
    return sum(values) if values else None
