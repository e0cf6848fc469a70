"""An app on a real server, in a thread, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def served_app(app: ASGIApp, listener: socket.socket, grace_seconds: int) -> Iterator[None]:
    """Answer on a socket until the block ends; what is being answered then has so long yet."""
    config = uvicorn.Config(
        app,
        http="h11",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="served", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield
    finally:
        server.end()
        thread.join(60)
        listener.close()


class _Server(uvicorn.Server):
    """Uvicorn's own takes two tenths of a second to end, in which it waits for nothing; tests start thousands."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()

    def end(self) -> None:
        """Have it end, from another thread."""
        self.should_exit = True
        if self._loop is not None:
            # It is closed where the server ended by itself.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Each second its `Date` is set.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in self.servers:
            each.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - they tell nobody
                    await asyncio.sleep(0.005)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()
