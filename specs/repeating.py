"""The commands that repeat a run elsewhere, with what it recorded."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from specs.generation import EffectiveGeneration
from specs.measurement import Circumstances


@dataclass(frozen=True)
class RanWhat:
    """What was run, at which commits."""

    model: str
    model_revision: str
    dataset: str
    dataset_revision: str
    task: str | None


def commands(what: RanWhat, ran: Circumstances) -> tuple[str, str]:
    """Shell commands: one that serves the model as the farm did, one that asks it every question.

    Every word from outside is quoted for a POSIX shell. The farm shuffles choices and orders samples by its seed, and
    may have stopped early; all samples score within the interval that it gives.
    """
    task = f"/{what.task}" if what.task else ""
    serve = ["vllm", "serve", what.model, "--revision", what.model_revision, *ran.engine_arguments]
    ask = ["inspect", "eval", f"hf/{what.dataset}{task}@{what.dataset_revision}"]
    ask += ["--model", f"vllm/{what.model}", "--model-base-url", "http://127.0.0.1:8000/v1"]
    ask += [*_sampling(ran.generation), "--epochs", str(ran.epochs)]
    return _lines(serve), _lines(ask)


def _sampling(used: EffectiveGeneration) -> list[str]:
    """As options of `inspect eval` (Inspect 0.3); what it has none for goes into the body of each request."""
    options = ["--temperature", f"{used.temperature:g}", "--top-p", f"{used.top_p:g}", "--top-k", str(used.top_k)]
    options += ["--presence-penalty", f"{used.presence_penalty:g}"]
    options += ["--frequency-penalty", f"{used.frequency_penalty:g}", "--seed", str(used.seed)]
    if used.max_tokens is not None:
        options += ["--max-tokens", str(used.max_tokens)]
    return options


def _lines(words: list[str]) -> str:
    """One command, an option a line."""
    quoted = [shlex.quote(word) for word in words]
    lines, line = [], ""
    for word in quoted:
        if word.startswith("--") and line:
            lines.append(line)
            line = f"  {word}"
        else:
            line = f"{line} {word}".strip() if not line.startswith("  ") else f"{line} {word}"
    return " \\\n".join([*lines, line])
