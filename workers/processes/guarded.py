"""Processes that end when this one does, with everything below them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.processes import guard
from workers.processes.orphans import Remains

_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LD_LIBRARY_PATH", "LD_PRELOAD")
_PASSED_ON_PREFIXES = (
    *("LC_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "KMP_", "TORCH_", "PYTORCH_", "ROCR_", "HIP_"),
)

_NETWORK = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
)

_FILES = frozenset(
    {
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_CONFIG_DIR"),
        *(f"OTEL_EXPORTER_OTLP_{what}" for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")),
        *(f"OTEL_EXPORTER_OTLP_TRACES_{what}" for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")),
    }
)
"""Variables of other projects' that name a file or a folder. By name: FSSPEC_FILE, say, holds JSON."""


def clean_environment(**extra: str) -> dict[str, str]:
    """What a started process gets to see: what it needs to run on this machine, and `extra`.

    Not the worker's own settings: its broker URL and its Hub token are nothing that a model or a spec should meet.
    """
    kept = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", **extra}


def network_environment() -> dict[str, str]:
    """By which proxies this process reaches others, and whose certificates it trusts.

    No part of a clean environment: the address of a proxy may hold a password.
    """
    return from_anywhere({name: value for name, value in os.environ.items() if name.upper() in _NETWORK})


def from_anywhere(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of other projects', for a process in another folder: with absolute paths."""
    return {name: _absolute(name, value) if name in _FILES else value for name, value in variables.items()}


def _absolute(name: str, value: str) -> str:
    # SSL_CERT_DIR may name several.
    paths = value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]
    # What is empty names nothing, and Amazon's library reads ~ and $HOME by itself.
    return os.pathsep.join(
        str(Path(path).absolute()) if path and not path.startswith(("~", "$")) else path for path in paths
    )


class Guarded:
    """A command under a guard (`workers.processes.guard`), which ends it should this process die."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        grace_seconds: float,
        own_temporary: bool = False,
    ) -> None:
        """Start `command` in `folder`; what it prints is appended to the file `log`.

        `grace_seconds` is the time between the request to stop and SIGKILL. With `own_temporary` its temporary files
        go to a folder of their own, and with it.
        """
        self._grace_seconds = grace_seconds
        self._remains = Remains.of(folder, own_temporary=own_temporary)
        self._remains_ended = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(grace_seconds), self._remains.temporary, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**environment, **self._remains.variables()},
                # A signal for the worker's process group is not meant for this one: the guard decides.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The guard's."""
        return self._process.pid

    @property
    def mark(self) -> str:
        """In the environment of every process below: workers/processes/orphans.py."""
        return self._remains.mark

    def poll(self) -> int | None:
        """The command's exit status, 128 plus the signal for a signal; None while it runs."""
        status = self._process.poll()
        if status is not None:
            self._end_remains(status)
        return status

    def stop(self) -> None:
        """End the command and everything below it. Returns when all is gone; harmless when it already is."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(self._grace_seconds + 30)
        except subprocess.TimeoutExpired:
            # Something below hangs in the kernel. SIGKILL to the guard takes the command with it.
            self._process.kill()
            self._process.wait()
        self._end_remains(self._process.returncode)

    def _end_remains(self, status: int) -> None:
        """End what a guard that was killed could not."""
        if status < 0 and not self._remains_ended:
            self._remains_ended = True
            self._remains.end()
