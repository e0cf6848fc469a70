"""Evidence in a bucket, as a farm of several machines has it: workers write it, control plane and API read it."""

from __future__ import annotations

import hashlib
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
import s3fs

from scheduler.api.routes.evidence import PART_BYTES as SENT_BYTES
from scheduler.api.routes.evidence import PIECE_BYTES, PIECES_AT_ONCE
from scheduler.state_machine import ReproductionState
from specs.errors import EvidenceAway, EvidenceError
from specs.logs.evidence import path_in_store
from specs.measurement import Evidence
from specs.processes.evidence_store import AHEAD_BYTES, PART_BYTES
from tests.support.api import running_api
from tests.support.bucket import Bucket, running_bucket
from tests.support.hub_bucket import hub_bucket
from tests.support.waiting import until
from workers.batches.evidence import fetch, store

MIB = 2**20
LOG = b"PK\x03\x04 an Inspect log" * 40_000
SHA256 = hashlib.sha256(LOG).hexdigest()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with running_bucket() as found:
        yield found


@pytest.fixture
def stored(bucket: Bucket, tmp_path: Path) -> Evidence:
    log = tmp_path / "log.eval"
    log.write_bytes(LOG)
    return store(log, bucket.url)


def test_a_worker_stores_a_log_once_and_another_fetches_it(bucket: Bucket, stored: Evidence, tmp_path: Path) -> None:
    assert (stored.sha256, stored.size_bytes) == (SHA256, len(LOG))
    fetch(stored, bucket.url, tmp_path / "fetched.eval")
    assert (tmp_path / "fetched.eval").read_bytes() == LOG
    assert store(tmp_path / "fetched.eval", bucket.url) == stored


def test_what_was_missing_is_found_once_somebody_else_has_stored_it(bucket: Bucket, tmp_path: Path) -> None:
    evidence = Evidence(sha256=SHA256, size_bytes=len(LOG))
    with pytest.raises(EvidenceError, match="not in this worker's evidence store"):
        fetch(evidence, bucket.url, tmp_path / "fetched.eval")
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{bucket.name}/evidence/{path_in_store(SHA256)}", LOG)
    fetch(evidence, bucket.url, tmp_path / "fetched.eval")


def test_what_the_hub_has_listed_without_it_is_found_once_somebody_else_has_stored_it(tmp_path: Path) -> None:
    evidence = Evidence(sha256=SHA256, size_bytes=len(LOG))
    with hub_bucket() as bucket, running_api(tmp_path, evidence_url=bucket.url) as api:
        api.rows.reproduction(
            state=ReproductionState.COMPLETED, evidence_sha256=SHA256, evidence_bytes=evidence.size_bytes
        )
        bucket.put(SHA256[:2].ljust(64, "0"), b"that of another run")
        with pytest.raises(EvidenceError, match="not in this worker's evidence store"):
            fetch(evidence, bucket.url, tmp_path / "fetched.eval")
        # Each thread of the API has a driver of its own.
        assert {api.get(f"/v1/evidence/{SHA256}").status_code for _ in range(20)} == {502}
        bucket.put(SHA256, LOG)
        fetch(evidence, bucket.url, tmp_path / "fetched.eval")
        assert {api.get(f"/v1/evidence/{SHA256}").content for _ in range(20)} == {LOG}


def test_the_api_serves_a_log_and_a_part_of_it(bucket: Bucket, stored: Evidence, tmp_path: Path) -> None:
    with running_api(tmp_path, evidence_url=bucket.url) as api:
        api.rows.reproduction(
            state=ReproductionState.COMPLETED, evidence_sha256=stored.sha256, evidence_bytes=stored.size_bytes
        )
        assert api.get(f"/v1/evidence/{SHA256}").content == LOG
        part = api.get(f"/v1/evidence/{SHA256}", {"range": "bytes=1024-2047"})
        assert (part.status_code, part.content) == (206, LOG[1024:2048])


def test_no_more_is_had_from_a_bucket_than_is_wanted_and_little_of_it_at_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LOG * 20
    (tmp_path / "log.eval").write_bytes(whole)
    stored = store(tmp_path / "log.eval", bucket.url)
    sent: list[int] = []
    send = s3fs.S3File._fetch_range

    def counted(file: s3fs.S3File, start: int, end: int) -> bytes:
        content: bytes = send(file, start, end)
        sent.append(len(content))
        return content

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", counted)
    with running_api(tmp_path, evidence_url=bucket.url) as api:
        api.rows.reproduction(
            state=ReproductionState.COMPLETED, evidence_sha256=stored.sha256, evidence_bytes=stored.size_bytes
        )
        address = f"/v1/evidence/{stored.sha256}"
        assert api.get(address, {"range": "bytes=0-0"}).content == whole[:1]
        # A byte ahead.
        assert sum(sent) == 2
        sent.clear()
        assert api.get(address).content == whole
        assert (sum(sent), max(sent)) == (len(whole), PIECE_BYTES + SENT_BYTES)
        sent.clear()
        assert api.get(address, {"range": "bytes=0-999999"}).content == whole[:1_000_000]
        assert max(sent) == 2 * SENT_BYTES
    sent.clear()
    fetch(stored, bucket.url, tmp_path / "fetched.eval")
    assert (sum(sent), max(sent)) == (len(whole), PART_BYTES + AHEAD_BYTES)


def test_a_log_is_had_from_the_hub_in_few_requests_and_so_much_for_few_readers_at_once(tmp_path: Path) -> None:
    # More than the system takes from the API before somebody reads.
    whole = bytes(32 * MIB)
    evidence = Evidence(sha256=hashlib.sha256(whole).hexdigest(), size_bytes=len(whole))
    with hub_bucket() as bucket, running_api(tmp_path, evidence_url=bucket.url) as api:
        bucket.put(evidence.sha256, whole)
        api.rows.reproduction(
            state=ReproductionState.COMPLETED, evidence_sha256=evidence.sha256, evidence_bytes=evidence.size_bytes
        )
        fetch(evidence, bucket.url, tmp_path / "fetched.eval")
        assert bucket.sent == [8 * MIB] * 4

        def requests() -> Counter[bool]:
            """For the whole log by the API: of parts, and of pieces."""
            bucket.sent.clear()
            assert api.get(f"/v1/evidence/{evidence.sha256}").content == whole
            return Counter(size > 2 * SENT_BYTES for size in bucket.sent)

        assert requests() == {True: 8}
        with ExitStack() as unread:
            for _ in range(PIECES_AT_ONCE):
                asked = unread.enter_context(socket.create_connection(("127.0.0.1", httpx2.URL(api.url).port or 0)))
                asked.sendall(f"GET /v1/evidence/{evidence.sha256} HTTP/1.1\r\nHost: farm\r\n\r\n".encode())
                # Some of the log, so it has its place.
                assert asked.recv(MIB, socket.MSG_WAITALL).startswith(b"HTTP/1.1 200")
            assert requests()[False] == len(whole) / (2 * SENT_BYTES)
        until(lambda: requests() == {True: 8}, lambda: "those who hung up kept their places")


def test_a_bucket_that_is_away_is_the_operators_problem(bucket: Bucket, stored: Evidence, tmp_path: Path) -> None:
    with running_api(tmp_path, evidence_url=bucket.url) as api:
        api.rows.reproduction(
            state=ReproductionState.COMPLETED, evidence_sha256=stored.sha256, evidence_bytes=stored.size_bytes
        )
        bucket.server.stop()
        answer = api.get(f"/v1/evidence/{SHA256}")
        assert answer.status_code == 502
        assert answer.json()["detail"].startswith("the evidence store does not answer; the farm's operator must look")
    with pytest.raises(EvidenceAway, match="cannot be read"):
        fetch(stored, bucket.url, tmp_path / "fetched.eval")
    with pytest.raises(EvidenceAway, match="cannot be written: EndpointConnectionError"):
        store(tmp_path / "log.eval", bucket.url)
