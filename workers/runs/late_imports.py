"""What Inspect (0.3.285) imports and reads once a run is under way: the server of runs does it before there is one.

Hundreds of modules at the first sample: seconds of a core that an engine on the same machine has better use for. And
its tables of known models, YAML that takes a third of the time of a short run to read.

Where Anthropic's client is installed, as vLLM has it, Inspect imports that too, whatever a run's model is: 2,900
modules, longer than all others together, and 39 MiB. No run asks a model by it, and Inspect does without where it is
not there.
"""

from __future__ import annotations

import importlib

_MODULES = (
    "inspect_ai.model._providers.vllm",
    "inspect_ai.model._openai_responses",
    "inspect_ai.agent._acp.server",
    "openai.resources.chat.completions",
)


def import_what_comes_late() -> None:
    """Import it; what an installation lacks, its runs do without."""
    from inspect_ai.model import _assistant_internal  # noqa: PLC0415 - it takes long, too

    _assistant_internal._HAS_ANTHROPIC = False
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    from inspect_ai.model import get_model_info  # noqa: PLC0415

    # Whichever it is asked for first, it reads them all, and keeps them.
    get_model_info("none/none")
