"""What each process of the farm is told: its own settings and nothing else.

A worker runs models and specs of strangers, so it gets no database, no signing key and no token that can write.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from fsspec.core import strip_protocol
from fsspec.utils import get_protocol
from pydantic.fields import FieldInfo
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.farm import own_policy
from deploy.farm.ports import HOST
from scheduler.settings import PREFIX, Settings
from specs.policy.pools import PoolRules
from specs.processes.secrets import JUDGE_PREFIX
from specs.validation_errors import settings_from
from workers.engines.cpu_executor import AS_VLLM_DOES
from workers.processes.guarded import clean_environment, from_anywhere, network_environment
from workers.processes.orphans import MARK
from workers.settings import PREFIX as WORKER_PREFIX
from workers.settings import WorkerSettings

_HAND_BACK_SECONDS = float(WorkerSettings.model_fields["hand_back_seconds"].default)
_TRACES = "OTEL_"
"""Beginning of what OpenTelemetry reads; engines and runs get none of it."""

_STORES = ("AWS_", "AZURE_STORAGE_", "FSSPEC_", "GOOGLE_")
"""Beginnings of what the drivers of evidence stores read; workers write there. Engines and runs get none of it."""

_EMPTY_IS_NONE = ("api_origins",)
"""Settings that mean something when they are empty; all others are then not set."""

_ON_THIS_MACHINE = {"0.0.0.0": HOST, "::": "::1", "localhost": HOST}  # noqa: S104 - nothing is bound here
"""Where to ask for who listens on all addresses, or on several."""


def api_host(operator: Mapping[str, str]) -> str:
    """Where the API of a farm in the operator's environment listens."""
    return operator.get(f"{PREFIX}API_HOST") or HOST


@dataclass(frozen=True)
class Plan:
    """The farm to run."""

    folder: Path
    """Database, keys, evidence, caches and logs."""

    api_port: int
    hub_endpoint: str | None = None
    """None is the setting's own default, huggingface.co."""

    hub_token: str | None = None
    """Of the farm's user on the Hub, who opens pull requests; for the control worker alone."""

    policy: Path | None = None
    """None is what the operator's settings name, else the one in the folder that `up` wrote, else the built-in one."""

    operator: Mapping[str, str] = field(default_factory=dict)
    """The operator's environment: its `REPROFARM_…` settings win over what is derived from the folder.

    Relative paths among them are those of this process's working folder; the farm's processes work in the farm's.
    """

    @property
    def api_url(self) -> str:
        """Where the API is, from this machine."""
        host = api_host(self.operator)
        host = _ON_THIS_MACHINE.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    def environment_of_control(self, broker_url: str, *, writes_to_hub: bool = False) -> dict[str, str]:
        """For a process of the control plane; the Hub token only for the one that writes there."""
        folder = self.folder.resolve()
        found = {
            "DATABASE_URL": f"sqlite:///{folder / 'reprofarm.db'}",
            "BROKER_URL": broker_url,
            "EVIDENCE_URL": f"file://{folder / 'evidence'}",
            "SIGNING_KEY": str(folder / "keys" / "signing.pem"),
            "RETIRED_KEYS": str(folder / "keys" / "retired"),
            "PUBLIC_URL": self.api_url,
            "API_HOST": HOST,
            **_if_set(POLICY=str(folder / own_policy.FILE) if (folder / own_policy.FILE).exists() else None),
            **self._set_by_operator(PREFIX, Settings.model_fields),
            "API_PORT": str(self.api_port),
            **_if_set(HUB_ENDPOINT=self.hub_endpoint, HUB_TOKEN=self.hub_token),
            **_if_set(POLICY=str(self.policy.resolve()) if self.policy else None),
        }
        if not writes_to_hub:
            found.pop("HUB_TOKEN", None)
        return self._around({f"{PREFIX}{name}": value for name, value in found.items()})

    def environment_of_worker(
        self, pool: PoolRules, control: Mapping[str, str], gpus: str | None = None
    ) -> dict[str, str]:
        """For a worker of a pool, beside a control plane with that environment.

        `gpus` are those that it is to see, as CUDA_VISIBLE_DEVICES; None is those that this process sees. A CPU pool's
        worker sees none: vLLM's GPU build would take them, and the record would say that a CPU had computed.
        """
        folder = self.folder.resolve()
        found = {
            "BROKER_URL": control[f"{PREFIX}BROKER_URL"],
            "EVIDENCE_URL": control[f"{PREFIX}EVIDENCE_URL"],
            "CACHE_FOLDER": str(folder / "cache"),
            "STATE_FOLDER": str(folder / "workers" / pool.name),
            **_if_set(HUB_ENDPOINT=control.get(f"{PREFIX}HUB_ENDPOINT")),
            **_if_set(LOG_FORMAT=control.get(f"{PREFIX}LOG_FORMAT")),
            **self._set_by_operator(WORKER_PREFIX, WorkerSettings.model_fields),
            "POOL": pool.name,
            "GPUS": str(pool.gpus if pool.device == "gpu" else 0),
        }
        others = {
            name: value
            for name, value in self.operator.items()
            if name.startswith(JUDGE_PREFIX) or name in AS_VLLM_DOES
        }
        seen = _if_set(CUDA_VISIBLE_DEVICES="" if pool.device == "cpu" else gpus)
        return self._around({**{f"{WORKER_PREFIX}{name}": value for name, value in found.items()}, **others, **seen})

    def _around(self, settings: Mapping[str, str]) -> dict[str, str]:
        others = {name: value for name, value in self.operator.items() if name.startswith((_TRACES, *_STORES))}
        return clean_environment(**network_environment(), **from_anywhere(others), **settings)

    def _set_by_operator(self, prefix: str, fields: Mapping[str, FieldInfo]) -> dict[str, str]:
        found = {name: self.operator.get(prefix + name.upper()) for name in fields}
        return {
            name.upper(): _from_anywhere(name, fields[name], value)
            for name, value in found.items()
            if value or (value is not None and name in _EMPTY_IS_NONE)
        }


def _from_anywhere(name: str, described: FieldInfo, value: str) -> str:
    """A setting's value that means the same in every folder: with absolute paths."""
    if name == "database_url":
        return _with_absolute_file(value)
    if name == "evidence_url" and get_protocol(value) == "file":
        return f"file://{strip_protocol(value)}"
    if Path in (described.annotation, *get_args(described.annotation)):
        return str(Path(value).absolute())
    return value


def _with_absolute_file(database_url: str) -> str:
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        # Whoever opens the database says so.
        return database_url
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return database_url
    return url.set(database=str(Path(url.database).absolute())).render_as_string(hide_password=False)


def shared_out(pools: Sequence[PoolRules], visible: str | None) -> dict[str, str]:
    """The GPUs of each pool's worker on one machine, as CUDA_VISIBLE_DEVICES: each has its own, in the pools' order.

    `visible` are those that there are to share out; None is all, by number. Empty where no two pools want GPUs: one
    worker takes the first ones by itself.
    """
    wanting = [each for each in pools if each.device == "gpu"]
    if len(wanting) < 2:
        return {}
    wanted = sum(each.gpus for each in wanting)
    left = visible.split(",") if visible is not None else [str(number) for number in range(wanted)]
    found = {}
    for pool in wanting:
        found[pool.name], left = ",".join(left[: pool.gpus]), left[pool.gpus :]
    return found


OF_COMMANDS = frozenset({"REPROFARM_API", "REPROFARM_TOKEN", "REPROFARM_VAR"})
"""What commands read and no process of the farm."""


def known_settings() -> frozenset[str]:
    """The names of all variables that a farm's processes or its commands read; judges' keys aside."""
    control = {PREFIX + name.upper() for name in Settings.model_fields}
    return OF_COMMANDS | control | {WORKER_PREFIX + name.upper() for name in WorkerSettings.model_fields}


def is_no_setting(name: str, known: Collection[str]) -> bool:
    """Whether a variable of that name looks like a setting, and nothing reads it."""
    return name.startswith(PREFIX) and not name.startswith((JUDGE_PREFIX, MARK)) and name not in known


def settings_in(control: Mapping[str, str]) -> Settings:
    """The settings that a control-plane process reads from its environment.

    Raises:
        PolicyError: one is wrong; the operator must act.
    """
    given = {name.removeprefix(PREFIX).lower(): value for name, value in control.items() if name.startswith(PREFIX)}
    return settings_from(lambda: Settings.model_validate(given), PREFIX)


def hand_back_seconds(worker: Mapping[str, str]) -> float:
    """How long a worker with that environment takes to hand its batch back when told to stop.

    Raises:
        PolicyError: it is set to what is no time; the operator must act.
    """
    given = worker.get(f"{WORKER_PREFIX}HAND_BACK_SECONDS")
    if given is None:
        return _HAND_BACK_SECONDS
    found = settings_from(lambda: WorkerSettings.model_validate({"hand_back_seconds": given}), WORKER_PREFIX)
    return found.hand_back_seconds


def _if_set(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
