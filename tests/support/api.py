"""A live API for tests: a real server on a free port, in a thread, on a real migrated database."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from deploy.serving import NO_HEADERS
from scheduler.api.app import create_app
from scheduler.database.session import Database
from scheduler.settings import Settings
from tests.support.databases import SQLITE, Databases
from tests.support.rows import Rows
from tests.support.scheduler import migrated_database
from tests.support.served_app import served_app


@dataclass(frozen=True)
class RunningApi:
    """An API that answers at `url`, and the rows that it reads."""

    url: str
    settings: Settings
    rows: Rows
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of each request, besides its own."""

    def get(self, path: str, headers: Mapping[str, str] = NO_HEADERS, /, **asked: object) -> httpx2.Response:
        """One request."""
        params = {name: str(value) for name, value in asked.items()} or None
        return httpx2.get(self.url + path, params=params, headers={**self.headers, **headers}, timeout=60)

    def json(self, path: str, **asked: object) -> Any:  # whatever the answer holds
        """The body of a request that must succeed."""
        answer = self.get(path, **asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running_api(
    folder: Path, databases: Databases = SQLITE, *, migrated: bool = True, **settings: Any
) -> Iterator[RunningApi]:
    """Serve a fresh farm in `folder` until the block ends."""
    database = migrated_database(folder, databases) if migrated else Database(databases.url(folder))
    found = Settings(
        **{
            "database_url": database.url,
            "evidence_url": f"file://{folder / 'evidence'}",
            "signing_key": folder / "keys" / "signing.pem",
            "retired_keys": folder / "keys" / "retired",
            "public_url": "http://farm.test",
            # Tests write and read at once; those of the memory say so.
            "api_memory_mib": 0,
            "api_look_seconds": 0.05,
            **settings,
        }
    )
    app = create_app(found)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with served_app(app, listener, grace_seconds=1):
                yield RunningApi(url, found, Rows(database))
        finally:
            database.engine.dispose()
