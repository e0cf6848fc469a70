"""Runs are forked from one process, which a worker keeps for its life (`workers.runs.run_server`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.engines.engine_faults import log_tail
from workers.errors import RunError
from workers.processes.forked import Forked, ForkServer, NoServerError
from workers.processes.guarded import clean_environment
from workers.snapshots.cache_room import PREPARED

_GRACE_SECONDS = 10.0


class RunServer(ForkServer):
    """Runs for one worker."""

    def __init__(self, folder: Path, cache_folder: Path) -> None:
        """`folder` is the server's own; datasets are cached in `cache_folder`."""
        environment = clean_environment(
            HF_HUB_OFFLINE="1",
            HF_DATASETS_OFFLINE="1",
            HF_DATASETS_DISABLE_PROGRESS_BARS="1",
            HF_HOME=str(cache_folder / "hf-home"),
            HF_DATASETS_CACHE=str(cache_folder / PREPARED),
            TOKENIZERS_PARALLELISM="false",
        )
        super().__init__("workers.runs.run_server", folder, environment)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Forked:
        """Start a run in `folder`; it sees the server's environment and `environment`.

        Raises:
            RunError: there is no server, and none could be started.
        """
        try:
            return self.fork(arguments, environment, folder, log, grace_seconds=_GRACE_SECONDS)
        except NoServerError as error:
            raise RunError(f"runs cannot be started: {error}\n{self.log_tail()}") from error

    def log_tail(self) -> str:
        """The server's last words, cleaned."""
        return log_tail(self.log)
