"""One vLLM server: what makes it the same as another, and what is asked of it while it is up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from specs.errors import ReprofarmError
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from workers.engines.engine_faults import log_tail, startup_fault
from workers.engines.local_http import local_http
from workers.errors import OutOfMemory
from workers.processes.forked import Forked
from workers.processes.guarded import Guarded
from workers.processes.ports import ENGINE_HOST
from workers.processes.process_start import process_start
from workers.shared_state import EngineNote

_HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class Wanted:
    """What makes an engine the same as another."""

    model: ModelRef
    arguments: tuple[str, ...]
    kv_cache_gib: int
    gpus: int
    batch_invariant: bool
    sleeps: bool
    """Whether it can be put to sleep."""

    key: str = field(compare=False)
    """For the control plane: specs/engine_key.py. It differs sooner than what an engine computes."""


class Engine:
    """One engine that answers."""

    def __init__(self, process: Guarded | Forked, port: int, wanted: Wanted, log: Path, weights_bytes: int = 0) -> None:
        """`log` is the file that it writes to, and no other engine."""
        if process.pid is None:
            raise ValueError("an engine without a process")
        self._process = process
        self._guard_pid, self._guard_start = process.pid, process_start(process.pid)
        self._port = port
        self.log = log
        self._started_at = datetime.now(UTC)
        self.wanted = wanted
        self.weights_bytes = weights_bytes
        self.has_slept = False
        """It holds memory of the host's since, awake too."""

        self.context_tokens: int | None = None
        """Of prompt and answer together; None where the engine does not say."""

    @property
    def base_url(self) -> str:
        """Of its OpenAI-compatible API."""
        return f"http://{ENGINE_HOST}:{self._port}/v1"

    @property
    def health_url(self) -> str:
        """What answers once it is up, for as long as it is well."""
        return f"{self.base_url.removesuffix('/v1')}/health"

    @property
    def arguments(self) -> tuple[str, ...]:
        """As it was started, less its key, host and port; the model's folder is named by its commit alone."""
        return self.wanted.arguments

    @property
    def batch_invariant(self) -> bool:
        """Whether it was told to use batch-invariant kernels."""
        return self.wanted.batch_invariant

    @property
    def served_name(self) -> str:
        """The model's name at the API."""
        return self.wanted.model.model_id

    def note(self) -> EngineNote:
        """What the worker's main process needs to know of it."""
        return EngineNote(
            model=self.wanted.model,
            key=self.wanted.key,
            started_at=self._started_at,
            base_url=self.base_url,
            guard_pid=self._guard_pid,
            guard_start=self._guard_start,
            mark=self._process.mark,
        )

    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def is_well(self) -> bool:
        """Whether it is there and does not say that it is broken.

        vLLM (0.32) whose EngineCore died is there for some seven seconds more: its health is 503, then nobody listens.
        One that only takes its time is busy.
        """
        if not self.alive():
            return False
        try:
            return local_http().get(self.health_url, timeout=_HEALTH_SECONDS).is_success
        except httpx2.TimeoutException:
            return True
        except httpx2.HTTPError:
            return False

    def log_tail(self) -> str:
        """Its last words, cleaned."""
        return log_tail(self.log)

    def fault(self, words: str) -> ReprofarmError:
        """What became of one that has died, by its log: an error with these words."""
        return startup_fault(words, self.log)

    def ran_out_of_memory(self) -> bool:
        """Whether its log says so; for one that has died."""
        return isinstance(self.fault(""), OutOfMemory)

    def stop(self) -> None:
        """End it with everything below it."""
        self._process.stop()


def engine_arguments(model: ModelRef, rules: EngineRules, gpus: int) -> tuple[str, ...]:
    """The arguments that decide what the engine computes."""
    arguments = ["--served-model-name", model.model_id, "--dtype", rules.dtype, "--seed", "0"]
    # The sampling defaults of the model's generation config are resolved and sent by us; the engine adds none.
    arguments += ["--generation-config", "vllm", "--load-format", "safetensors", "--disable-uvicorn-access-log"]
    # It sets memory aside for what it may be asked at once, which is never more than we ask.
    arguments += ["--max-num-seqs", str(rules.concurrency)]
    if rules.max_model_len is not None:
        arguments += ["--max-model-len", str(rules.max_model_len)]
    if rules.enforce_eager:
        arguments += ["--enforce-eager"]
    if rules.reasoning_parser is not None:
        arguments += ["--reasoning-parser", rules.reasoning_parser]
    if rules.attention_backend is not None:
        arguments += ["--attention-backend", rules.attention_backend]
    if rules.model_format is not None:
        # Changes nothing here, where Mistral's own files are not fetched; on the Hub's repo vLLM would choose those.
        arguments += ["--config-format", rules.model_format, "--tokenizer-mode", rules.model_format]
        arguments += ["--ignore-patterns", "consolidated*"]
    if can_sleep(rules, gpus):
        arguments += ["--enable-sleep-mode"]
    if gpus > 1:
        arguments += ["--tensor-parallel-size", str(gpus)]
    return tuple(arguments)


def can_sleep(rules: EngineRules, gpus: int) -> bool:
    """There is nothing to gain on a CPU, whose engines have their weights in the host's memory as it is."""
    return rules.sleep and gpus > 0
