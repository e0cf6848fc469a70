"""A worker's settings, from the environment (`REPROFARM_WORKER_…`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, ByteSize, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from specs.logs.evidence import EvidenceUrl
from specs.measurement import MAX_POPULATION
from specs.processes.hub_endpoint import HubEndpoint
from specs.processes.log_lines import LogFormat
from specs.processes.secrets import SecretUrl, secrets_in
from specs.queues import pool_queue
from specs.validation_errors import settings_from

PREFIX = "REPROFARM_WORKER_"

_Folder: TypeAlias = Annotated[Path, AfterValidator(Path.absolute)]
"""As seen from where the worker was started: what it starts works in other folders."""


class WorkerSettings(BaseSettings):
    """Everything that a worker is told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True, env_ignore_empty=True
    )

    broker_url: SecretUrl = SecretStr("redis://127.0.0.1:6379/0")
    """Of Redis; it can hold a password."""

    pool: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "cpu"
    """The pool that this worker belongs to; its queue is `pool.NAME`."""

    hub_endpoint: HubEndpoint = "https://huggingface.co"
    hub_token: SecretStr | None = None
    """For gated and private repos; reading is enough. Never passed on to what runs a model or a spec."""

    evidence_url: EvidenceUrl = "file:///var/lib/reprofarm/evidence"
    """Where logs are stored: any URL that fsspec knows, such as `s3://bucket/evidence`."""

    cache_folder: _Folder = Path("/var/lib/reprofarm/cache")
    """Model and dataset snapshots."""

    cache_size: ByteSize | None = None
    """What the cache folder may take, such as `200GiB`, of a disk that is not its own. None is all of the disk."""

    state_folder: _Folder = Path("/var/lib/reprofarm/worker")
    """Engine logs, and a folder for each running attempt."""

    max_dataset_gib: Annotated[float, Field(gt=0)] = 20.0
    """A dataset repo above that size is not downloaded."""

    max_dataset_rows: Annotated[int, Field(gt=0, le=MAX_POPULATION)] = 1_000_000
    """A split with more rows is not run."""

    max_cell_mib: Annotated[float, Field(gt=0)] = 16.0
    """A row in which one field of the sample is larger is not run."""

    hand_back_seconds: Annotated[float, Field(gt=0)] = 25.0
    """Told to stop, a worker closes the log of its run, stores what is finished and hands its batch back within that
    time. Whatever stops workers must wait longer before it kills them: Kubernetes waits 30 s unless told otherwise."""

    store_patience_seconds: Annotated[float, Field(ge=0)] = 21_600.0
    """While the evidence store is away or full, a finished run waits for it so long, and its attempt goes on. Then it
    fails."""

    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs that this worker uses, the first ones that CUDA shows it; 0 is a CPU worker. None is all that there are."""

    minimum_free_part: Annotated[float, Field(ge=0, le=1)] = 0.93
    """Of each GPU's memory: with less of it free, no engine is started there. vLLM (0.32) takes 0.92, and refuses to
    start where less is free beside its own context (`request_memory` in vllm/v1/worker/utils.py)."""

    minimum_free_gib: Annotated[float, Field(ge=0)] = 0.0
    """Of each device, besides what the engine is reckoned to need."""

    device_patience_seconds: Annotated[float, Field(ge=0)] = 30.0
    """A device that is not free for longer than that is quarantined: the worker takes nothing until it is free."""

    alive_seconds: Annotated[float, Field(ge=1, le=120)] = 10.0
    """Between two words of this worker that it is there."""

    prepare: bool = True
    """Import what engines and runs are forked from as soon as the worker is started, which takes some 1.6 GB from then
    on, instead of with its first batch."""

    log_format: LogFormat = "text"
    """`json` logs lines of JSON, with what each is about in fields of its own."""

    @property
    def secrets(self) -> frozenset[str]:
        """All that must not be shown of these settings and of this process's environment."""
        urls = (self.broker_url.get_secret_value(), self.hub_endpoint, self.evidence_url)
        return secrets_in(urls, [self.hub_token.get_secret_value() if self.hub_token else None], os.environ)

    @property
    def queue(self) -> str:
        """The Celery queue of this worker's pool; it consumes one of its own too (specs/queues.py)."""
        return pool_queue(self.pool)


def read_settings() -> WorkerSettings:
    """The settings in this process's environment.

    Raises:
        PolicyError: a setting is wrong; the operator must act.
    """
    return settings_from(WorkerSettings, PREFIX)
