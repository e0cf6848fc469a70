"""A bucket: S3's protocol over HTTP on this machine, as moto's server speaks it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import s3fs
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class Bucket:
    """One that is there and empty at first."""

    name: str
    server: ThreadedMotoServer

    @property
    def url(self) -> str:
        """Of a folder in it, as fsspec reads it."""
        return f"s3://{self.name}/evidence"


@contextmanager
def running_bucket() -> Iterator[Bucket]:
    """Serve a bucket until the block ends. Until then this process's environment has what its driver reads."""
    # All servers of a process have the same buckets.
    name = f"farm-{secrets.token_hex(8)}"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        environment = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            # Where it is away, it is so for good.
            "AWS_MAX_ATTEMPTS": "1",
        }
        s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=endpoint).mkdir(name)
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            # Drivers are kept for the life of a process, with the address that they had first.
            s3fs.S3FileSystem.clear_instance_cache()
            yield Bucket(name, server)
        s3fs.S3FileSystem.clear_instance_cache()
    finally:
        server.stop()
