"""The load: so many connections, each asking again as soon as it was answered. A process of its own.

`python -m deploy.bench.api_client PORT SECONDS CONNECTIONS` reads requests as a JSON list of [path, etag or null] from
its input, and writes one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

Asked = list[tuple[str, str | None]]


async def _ask(port: int, requests: list[bytes], until: float, seen: list[float], statuses: set[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(requests[number % len(requests)])
        number += 1
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.add(int(head[9:12]))
        at = head.lower().find(b"content-length:")
        if at >= 0:
            await reader.readexactly(int(head[at + 15 : head.index(b"\r", at)]))
        seen.append(time.perf_counter() - started)
    writer.close()


def _request(path: str, etag: str | None) -> bytes:
    condition = f"If-None-Match: {etag}\r\n" if etag else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{condition}\r\n".encode()


async def _load(port: int, seconds: float, connections: int, asked: Asked) -> dict[str, object]:
    requests = [_request(path, etag) for path, etag in asked]
    seen: list[float] = []
    statuses: set[int] = set()
    started = time.perf_counter()
    # Each connection begins elsewhere in the list.
    begins = [each * 997 % len(requests) for each in range(connections)]
    turned = [requests[begin:] + requests[:begin] for begin in begins]
    await asyncio.gather(*(_ask(port, mine, started + seconds, seen, statuses) for mine in turned))
    took = time.perf_counter() - started
    return {
        "requests_per_second": len(seen) / took,
        "p99_milliseconds": statistics.quantiles(seen, n=100)[98] * 1000,
        "statuses": sorted(statuses),
    }


def main() -> None:
    """Ask, and say how it went."""
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    found = asyncio.run(_load(port, seconds, connections, json.load(sys.stdin)))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
