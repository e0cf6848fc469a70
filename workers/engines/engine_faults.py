"""Whose fault it is that an engine would not start, read from its log.

vLLM (0.32) starts processes within processes, and each wraps the failure of the one below: the root cause stands far
above the last lines. Whose fault it is shows in where the traceback has been (reading weights, tokenizer or config is
about the model), better than in words that change with every version. What is taken from a log is cleaned: a model can
influence what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specs.errors import EngineError, ReprofarmError
from specs.text import clean
from workers.errors import ModelError, OutOfMemory

_READ_BYTES = 512 * 1024
_MAX_LINE_CHARS = 400
_TAIL_LINES = 40
_TRACEBACK_LINES = 24

# `(Worker pid=27325) ERROR 11-23 21:42:14 [multiproc_executor.py:953] ` and the part of it that names the process.
_PREFIX = re.compile(r"\((?P<process>[\w.-]+ pid=\d+)\) (?:[A-Z]+ \d\d-\d\d [\d:.]+ \[[^\]]*\] ?)?")
_FRAME = re.compile(r'\s*File "(?P<file>[^"]*)", line \d+, in (?P<function>\S+)')
_INSTALLED = re.compile(r'File "[^"]*/site-packages/')
_EXCEPTION = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b(?::.*)?\Z|Exception: .*\Z")
_WRAPPERS = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|EngineCore failed to start"
    r"|Worker failed with error"
)

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|No available memory for the cache blocks|less than desired GPU memory utilization"
    r"|larger than the available KV cache memory|allocate memory|MemoryError|not enough memory|larger than available"
    # Killed from outside while starting: on a machine that runs out of memory the kernel does that.
    r"|'EngineCore\w*': -9\b|less than requested memory|insufficient memory|CUBLAS_STATUS_ALLOC_FAILED"
    # One block for each sequence, of layers with a state, in what is left of the memory.
    r"|exceeds available Mamba cache blocks",
    re.IGNORECASE,
)
_ABOUT_THE_MODEL = re.compile(
    r"load_weights?|get_all_weights|safetensors|weight_utils|create_model_config|get_config|get_tokenizer"
    r"|tokenization|tokenizer|configuration_utils|inspect_model_cls|resolve_model_cls"
)
# Policy asks for more context than the model has: nothing is wrong with the model.
_ABOUT_POLICY = re.compile(r"max_model_len")
# A GPU, its driver, what joins GPUs, or a disk fails under whatever runs at that moment, the reading of weights too. A
# package that is not installed is missing here. What cannot be inspected is vLLM's own module, in a child that fails.
_ABOUT_THIS_MACHINE = re.compile(
    r"CUDA error|CUDA driver|NVIDIA driver|No CUDA GPUs are available|NCCL error|NVML|CUDNN_STATUS|CUBLAS_STATUS"
    r"|Failed to infer device type|Cannot find a working triton|Failed to find C compiler"
    r"|No space left on device|Disk quota exceeded|Input/output error|Stale file handle|Read-only file system"
    r"|Too many open files|Permission denied|failed to be inspected"
    r"|\A(?:ImportError|ModuleNotFoundError)\b"
)


@dataclass(frozen=True)
class _Traceback:
    lines: tuple[str, ...]
    places: str
    """Files and functions that it has been through."""

    exception: str


def log_tail(log: Path) -> str:
    """The last lines of a process's log, cleaned for people to read."""
    return "\n".join(_shown(_read(log))[-_TAIL_LINES:])


def startup_fault(words: str, log: Path) -> ReprofarmError:
    """The error that a failed start is: the model's own, a want of memory, or the engine's."""
    lines = _read(log)
    tracebacks = list(_tracebacks(lines))
    causes = [each for each in tracebacks if not _WRAPPERS.search(each.exception)]
    cause = causes[-1] if causes else None
    told = _shown(list(cause.lines))[-_TRACEBACK_LINES:] if cause else _shown(lines)[-_TAIL_LINES:]
    detail = f"{words}: {clean(cause.exception, 1000)}" if cause else words
    tail = "\n".join(told)
    everything = "\n".join(each.exception for each in tracebacks) or tail
    # Memory first: an allocation that fails while weights are loaded has been there too.
    if _OUT_OF_MEMORY.search(everything):
        return OutOfMemory(detail, tail)
    if cause and _is_the_models(cause):
        return ModelError(detail, tail)
    return EngineError(detail, tail)


def _is_the_models(cause: _Traceback) -> bool:
    return (
        _ABOUT_THE_MODEL.search(cause.places) is not None
        and _ABOUT_POLICY.search(cause.exception) is None
        and _ABOUT_THIS_MACHINE.search(cause.exception) is None
    )


def _read(log: Path) -> list[str]:
    try:
        with log.open("rb") as content:
            size = content.seek(0, 2)
            content.seek(max(0, size - _READ_BYTES))
            return content.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _shown(lines: list[str]) -> list[str]:
    """Lines as people want them: without prefixes, long paths and rows of carets."""
    plain = (_INSTALLED.sub('File "', _PREFIX.sub("", line, count=1)) for line in lines)
    return [shown for line in plain if (shown := clean(line, _MAX_LINE_CHARS)) and set(shown) - set("^~ ")]


def _tracebacks(lines: list[str]) -> Iterator[_Traceback]:
    """The tracebacks of all processes, in the order in which they end; processes write through one another."""
    open_ones: dict[str, list[str]] = {}
    for index, raw in enumerate(lines):
        match = _PREFIX.match(raw)
        process = match["process"] if match else ""
        line = raw[match.end() :] if match else raw
        if line.startswith("Traceback (most recent call last)"):
            open_ones[process] = [line]
        elif process in open_ones:
            open_ones[process].append(line)
            if _EXCEPTION.match(line):
                told = open_ones.pop(process)
                yield _Traceback(tuple(told), _places(told), line + _continued(line, lines[index + 1 : index + 7]))


def _places(lines: list[str]) -> str:
    return "\n".join(f"{match['file']} {match['function']}" for line in lines if (match := _FRAME.match(line)))


def _continued(first: str, following: list[str]) -> str:
    """The rest of a message with several lines: pydantic indents them, transformers leaves the first one empty."""
    plain = [_PREFIX.sub("", line, count=1) for line in following]
    if first.rstrip().endswith(":"):
        return next((f" {line.strip()}" for line in plain if line.strip()), "")
    rest = []
    for line in plain:
        if not line.startswith("  ") or "For further information" in line:
            break
        rest.append(" " + line.strip())
    return "".join(rest)
