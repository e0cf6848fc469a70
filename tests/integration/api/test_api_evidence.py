from __future__ import annotations

import hashlib
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx2

from scheduler.database.postgres import CONNECTIONS
from scheduler.state_machine import ReproductionState
from specs.logs.evidence import path_in_store
from tests.support.api import RunningApi
from tests.support.databases import ON_BOTH, mostly_sqlite

LOG = b"PK\x03\x04 an Inspect log" * 40_000
MANY_BYTES = 32 * 2**20


databases = mostly_sqlite


def keep(api: RunningApi, content: bytes = LOG) -> str:
    sha256 = hashlib.sha256(LOG).hexdigest()
    path = Path(api.settings.evidence_url.removeprefix("file://")) / path_in_store(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return sha256


def complete(api: RunningApi, sha256: str, size: int = len(LOG)) -> None:
    api.rows.reproduction("other/model")
    api.rows.reproduction(state=ReproductionState.COMPLETED, evidence_sha256=sha256, evidence_bytes=size)


def test_the_log_of_a_reproduction_can_be_fetched_and_cached_for_ever(api: RunningApi) -> None:
    sha256 = keep(api)
    complete(api, sha256)
    answer = api.get(f"/v1/evidence/{sha256}")
    assert hashlib.sha256(answer.content).hexdigest() == sha256
    assert answer.headers["content-length"] == str(len(LOG))
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-disposition"] == f'attachment; filename="{sha256}.eval"'
    # A browser must not run what a model wrote.
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_who_never_reads_a_log_to_its_end_keeps_nobody_from_the_database(api: RunningApi) -> None:
    # More than the system takes from the API before somebody reads.
    sha256 = keep(api, bytes(MANY_BYTES))
    complete(api, sha256, MANY_BYTES)
    with ExitStack() as unread:
        for _ in range(CONNECTIONS + 1):
            asked = unread.enter_context(socket.create_connection(("127.0.0.1", httpx2.URL(api.url).port or 0)))
            asked.sendall(f"GET /v1/evidence/{sha256} HTTP/1.1\r\nHost: farm\r\n\r\n".encode())
            assert asked.recv(12) == b"HTTP/1.1 200"
        assert api.get("/v1/claims").status_code == 200


def test_head_tells_what_get_would_and_sends_nothing(api: RunningApi) -> None:
    sha256 = keep(api)
    complete(api, sha256)
    badge = "/badges/tiny/model/acme/capitals/europe.svg"
    for path in (f"/v1/evidence/{sha256}", f"/logs/{sha256}.eval", "/v1/claims", "/healthz", badge, "/", "/v1/nothing"):
        told, whole = httpx2.head(api.url + path, timeout=60), api.get(path)
        assert (told.status_code, told.content) == (whole.status_code, b""), path
        assert told.headers["content-length"] == str(len(whole.content)), path
        assert told.headers.get("etag") == whole.headers.get("etag"), path
    assert httpx2.head(f"{api.url}/v1/verifications").status_code == 405


@ON_BOTH
def test_a_file_in_the_store_that_no_reproduction_names_is_not_served(api: RunningApi) -> None:
    sha256 = keep(api)
    assert api.get(f"/v1/evidence/{sha256}").status_code == 404


def test_a_lost_file_is_the_operators_problem_not_a_missing_page(api: RunningApi) -> None:
    sha256 = hashlib.sha256(LOG).hexdigest()
    complete(api, sha256)
    answer = api.get(f"/v1/evidence/{sha256}")
    assert answer.status_code == 502
    assert "has lost this file" in answer.json()["detail"]


def test_a_file_of_another_size_is_not_passed_off_as_the_evidence(api: RunningApi) -> None:
    sha256 = keep(api, b"something else")
    complete(api, sha256)
    answer = api.get(f"/v1/evidence/{sha256}")
    assert answer.status_code == 502
    assert "another file" in answer.json()["detail"]
