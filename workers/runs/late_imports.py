"""What Inspect (0.3.285) imports and reads once a run is under way: the server of runs does it before there is one.

Thousands of modules, most of them Anthropic's types, at the first sample of every run whatever its model is
(`inspect_ai.model._assistant_internal`): seconds of a core that an engine on the same machine has better use for. And
its tables of known models, YAML that takes a third of the time of a short run to read.
"""

from __future__ import annotations

import importlib

_MODULES = (
    "inspect_ai.model._providers.vllm",
    "inspect_ai.model._openai_responses",
    "inspect_ai.model._providers.anthropic",
    "inspect_ai.agent._acp.server",
    "openai.resources.chat.completions",
)


def import_what_comes_late() -> None:
    """Import it; what an installation lacks, its runs do without."""
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    from inspect_ai.model import get_model_info  # noqa: PLC0415 - it takes long, too

    # Whichever it is asked for first, it reads them all, and keeps them.
    get_model_info("none/none")
