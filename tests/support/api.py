"""A live API for tests: a real server on a free port, in a thread, on a real migrated database."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from scheduler.api.app import create_app
from scheduler.api.callers import callers
from scheduler.api.callers.callers import Caller
from scheduler.database.session import Database
from scheduler.settings import Settings
from tests.support.databases import SQLITE, Databases
from tests.support.rows import Rows
from tests.support.scheduler import migrated_database


@dataclass(frozen=True)
class RunningApi:
    """An API that answers at `url`, and the rows that it reads."""

    url: str
    settings: Settings
    rows: Rows

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **asked: object) -> httpx.Response:
        """One request."""
        params = {name: str(value) for name, value in asked.items()} or None
        return httpx.get(self.url + path, params=params, headers=headers, timeout=60)

    def json(self, path: str, **asked: object) -> Any:  # whatever the answer holds
        """The body of a request that must succeed."""
        answer = self.get(path, **asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running_api(
    folder: Path, databases: Databases = SQLITE, *, migrated: bool = True, caller: Caller | None = None, **settings: Any
) -> Iterator[RunningApi]:
    """Serve a fresh farm in `folder` until the block ends, to whoever asks as to `caller`, if one is given."""
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
    if caller is not None:
        app.dependency_overrides[callers._the_caller] = lambda: caller
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield RunningApi(f"http://127.0.0.1:{listener.getsockname()[1]}", found, Rows(database))
        finally:
            server.should_exit = True
            thread.join(60)
            database.engine.dispose()
