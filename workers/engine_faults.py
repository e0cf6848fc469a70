"""Whose fault it is that an engine would not start, read from its log.

The log is the engine's own (vLLM 0.32); the model can influence what it says, so what is taken from it is cleaned.
"""

from __future__ import annotations

import re
from pathlib import Path

from specs.errors import EngineError, ReprofarmError
from specs.text import clean
from workers.errors import ModelError, OutOfMemory

_TAIL_BYTES = 64 * 1024
_MAX_LINE_CHARS = 400
_TAIL_LINES = 40

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|No available memory for the cache blocks|less than desired GPU memory utilization"
    r"|larger than the available KV cache memory|Cannot allocate memory|can't allocate memory|MemoryError"
    r"|Not enough memory",
    re.IGNORECASE,
)
_MODELS_FAULT = re.compile(
    r"SafetensorError|safetensors_rust|InvalidHeader|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer"
    r"|Error while deserializing|are not supported for now|Model architectures .* failed to be inspected"
    r"|does not recognize this architecture|has no vLLM implementation|Unrecognized model in"
    r"|should have a .?model_type.? key|trust_remote_code|Cannot find any model weights"
    r"|There is no module or parameter named|Following weights were not initialized|size mismatch|Sizes of tensors must"
    r"|Attempted to load weight|is not a valid JSON file|Can't load (?:the configuration|tokenizer|the model)"
    r"|Couldn't instantiate the backend tokenizer|Unable to load vocabulary|data did not match any variant"
    r"|is greater than the derived max_model_len|Tokenizer class .* does not exist|Invalid repository ID or local"
    r"|ValidationError.*(?:ModelConfig|architectures)|is not a multimodal model|No tokenizer|tokenizer\.json",
    re.IGNORECASE,
)
_ERROR_LINE = re.compile(r"(?:^|\s)((?:[\w.]+\.)?\w*(?:Error|Exception)(?:: .+)?)$")


def log_tail(log: Path, start: int = 0) -> str:
    """The last lines of an engine's log from byte `start` on, one of a kind, cleaned for people to read."""
    try:
        with log.open("rb") as content:
            size = content.seek(0, 2)
            content.seek(max(start, size - _TAIL_BYTES))
            text = content.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line for raw in text.splitlines() if (line := clean(raw, _MAX_LINE_CHARS))]
    return "\n".join(lines[-_TAIL_LINES:])


def startup_fault(words: str, log: Path, start: int = 0) -> ReprofarmError:
    """The error that a failed start is: the model's own, a want of memory, or the engine's."""
    tail = log_tail(log, start)
    culprit = _culprit(tail)
    detail = f"{words}: {culprit}" if culprit else words
    # Memory first: an allocation that fails while weights are loaded names the weights too.
    if _OUT_OF_MEMORY.search(tail):
        return OutOfMemory(detail, tail)
    if _MODELS_FAULT.search(tail):
        return ModelError(detail, tail)
    return EngineError(detail, tail)


def _culprit(tail: str) -> str:
    """The line that says most: the last that names an error, but not the wrapper in which every failed start ends."""
    errors = [match[1] for line in tail.splitlines() if (match := _ERROR_LINE.search(line))]
    telling = [each for each in errors if "Engine core initialization failed" not in each]
    return next(iter(reversed(telling or errors)), "")
