"""What the client would never send."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import lz4.frame
import pytest

from deploy.localhub import xet
from deploy.localhub.api import request as api_request
from deploy.localhub.errors import BadRequestError
from deploy.localhub.names import model
from deploy.localhub.objects import ObjectStore
from tests.support.localhub import RunningHub, running_hub

CLIMBING = [
    "..%2f..%2fhub.sqlite3",
    "../../../../../tokens.json",
    "%2e%2e/tokens.json",
    ".git/config",
    "a//b",
    "%00",
    "a%5cb",
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One for all tests here: what they send is refused and changes nothing."""
    with running_hub(tmp_path_factory.mktemp("hostile") / "hub") as running:
        yield running


@pytest.fixture(scope="module")
def http(hub: RunningHub) -> Iterator[httpx2.Client]:
    """The owner of `acme/tiny`, without a client library that means well."""
    token = hub.local.add_token("alice", orgs=("acme",))
    for name in ("acme/tiny", "acme/forged"):
        hub.local.create_repo(model(name))
    with httpx2.Client(base_url=hub.url, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
        yield client


def raw_get(hub: RunningHub, target: str) -> bytes:
    """A GET whose target no client library tidies up."""
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def commit(http: httpx2.Client, *lines: object, revision: str = "main") -> httpx2.Response:
    header = {"key": "header", "value": {"summary": "Test"}}
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in (header, *lines))
    return http.post(f"/api/models/acme/tiny/commit/{revision}", content=text)


@pytest.mark.parametrize("path", CLIMBING)
def test_no_path_leads_out_of_a_repo(hub: RunningHub, http: httpx2.Client, path: str) -> None:
    for target in (
        f"/acme/tiny/resolve/main/{path}",
        f"/acme/tiny/resolve/{path}/README.md",
        f"/api/models/acme/tiny/tree/main/{path}",
        f"/api/models/acme/tiny/revision/{path}",
        f"/api/models/acme/{path}",
        f"/{path}/tiny/resolve/main/README.md",
        f"/{path}",
    ):
        head, _, body = raw_get(hub, target).partition(b"\r\n\r\n")
        assert head.split()[1] in (b"400", b"404", b"401"), target
        assert b"sha256" not in body
        assert b"SQLite" not in body


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", ".git/hooks/post-update", "a/.GIT/x", "", "a\nb", "a\\b", "x" * 2000]
)
def test_no_commit_writes_such_a_path(http: httpx2.Client, path: str) -> None:
    for key in ("file", "lfsFile", "deletedFile", "deletedFolder"):
        answer = commit(http, {"key": key, "value": {"path": path, "content": "x", "oid": "0" * 64, "size": 1}})
        assert answer.status_code in (400, 404)
    assert http.get("/api/models/acme/tiny").json()["siblings"] == [{"rfilename": ".gitattributes"}]


@pytest.mark.parametrize(
    "revision",
    ["--all", "-x", "main~1", "main@{0}", "HEAD", "refs/heads/main", "refs%2Fincoming%2Fx", "a b", "main:x", "x.lock"],
)
def test_a_revision_is_never_an_expression_or_an_option(http: httpx2.Client, revision: str) -> None:
    answer = http.get(f"/api/models/acme/tiny/revision/{revision}")
    assert answer.status_code == 404
    assert commit(http, {"key": "file", "value": {"path": "x", "content": "x"}}, revision=revision).status_code in (
        403,
        404,
    )


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '"text"',
        {"key": "file"},
        {"key": "file", "value": []},
        {"key": "file", "value": {"path": 5, "content": "x"}},
        {"key": "file", "value": {"path": "x", "content": "%%%", "encoding": "base64"}},
        {"key": "lfsFile", "value": {"path": "x", "oid": "../../etc/passwd", "size": 1}},
        {"key": "lfsFile", "value": {"path": "x", "oid": "0" * 64, "size": 1}},
        {"key": "somethingElse", "value": {"path": "x"}},
        "[" * 100_000,
    ],
)
def test_a_malformed_commit_is_refused_and_changes_nothing(http: httpx2.Client, line: object) -> None:
    answer = commit(http, line)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert len(http.get("/api/models/acme/tiny/commits/main").json()) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff", b'{"title": 5}', b'{"title": "\\ud800 lone"}'])
def test_a_malformed_body_is_refused_in_json(http: httpx2.Client, body: bytes) -> None:
    answer = http.post("/api/models/acme/tiny/discussions", content=body)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_body_above_the_bound_is_refused(http: httpx2.Client) -> None:
    too_much = b"x" * (api_request.MAX_JSON_BYTES + 1)
    assert http.post("/api/models/acme/tiny/discussions", content=too_much).status_code == 413

    def pieces() -> Any:
        for _ in range(5):
            yield b"x" * (api_request.MAX_JSON_BYTES // 4)

    assert http.post("/api/models/acme/tiny/discussions", content=pieces()).status_code == 413


def test_odd_query_parameters_are_refused(http: httpx2.Client) -> None:
    for query in ("cursor=-1", "limit=x", "sort=color", "cursor=99999999999"):
        assert http.get(f"/api/models?{query}").status_code == 400
    assert http.get("/api/models/acme/tiny/discussions?type=x").status_code == 400
    assert http.get("/api/models/acme/tiny/discussions/x1").status_code == 404


@pytest.mark.parametrize("name", ["../x", ".hidden", "a..b", "a--b", "x.git", "-x", "", "a/b", "x" * 97, "a b"])
def test_no_repo_gets_such_a_name(http: httpx2.Client, name: str) -> None:
    answer = http.post("/api/repos/create", json={"name": name, "organization": "acme", "type": "model"})
    assert answer.status_code == 400


def test_a_commit_message_cannot_forge_history(hub: RunningHub, http: httpx2.Client) -> None:
    evil = "Innocent\x00\x01 text\nfrom refs/heads/main\n\ncommit refs/heads/other\r\n"
    header = {"key": "header", "value": {"summary": evil}}
    file = {"key": "file", "value": {"path": 'q" \nM 100644', "content": "x"}}
    assert (
        http.post(
            "/api/models/acme/forged/commit/main", content=f"{json.dumps(header)}\n{json.dumps(file)}"
        ).status_code
        == 400
    )
    file["value"] = {"path": 'q" M', "content": "x\nM 100644 inline y\n"}
    assert (
        http.post(
            "/api/models/acme/forged/commit/main", content=f"{json.dumps(header)}\n{json.dumps(file)}"
        ).status_code
        == 200
    )
    history = http.get("/api/models/acme/forged/commits/main").json()
    assert [item["title"].startswith("Innocent text") for item in history] == [True, False]
    assert [item["name"] for item in http.get("/api/models/acme/forged/refs").json()["branches"]] == ["main"]
    assert http.get("/acme/forged/resolve/main/q%22%20M").text == "x\nM 100644 inline y\n"
    assert http.get("/api/models/acme/forged/tree/main?expand=true").status_code == 200


def test_large_objects_are_taken_at_signed_addresses_only(hub: RunningHub, http: httpx2.Client) -> None:
    content = os.urandom(1000)
    oid = sha256(content).hexdigest()
    url = "/acme/tiny.git/info/lfs/objects/batch"
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
    answer = http.post(url, json=batch).json()
    href = answer["objects"][0]["actions"]["upload"]["href"]
    assert http.put(href.replace(oid, "0" * 64), content=content).status_code == 403
    assert http.put(href.replace("size=1000", "size=2000"), content=content).status_code == 403
    assert http.put(href, content=content + b"more").status_code == 413
    assert http.put(href, content=content[:-1]).status_code == 400
    assert http.put(href, content=content).status_code == 200
    assert "actions" not in http.post(url, json=batch).json()["objects"][0]
    assert http.post(url, json={"operation": "upload", "objects": [{"oid": "../x", "size": 1}]}).status_code == 400
    assert httpx2.post(f"{hub.url}{url}", json=batch).status_code == 401


def test_xet_uploads_need_their_token(hub: RunningHub, http: httpx2.Client) -> None:
    session = "0" * 32
    for token in ("x", "9999999999.0000", f"0.{'0' * 64}"):
        answer = httpx2.post(
            f"{hub.url}/xet/{session}/v1/xorbs/default/{'0' * 64}", headers={"authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 401
    granted = http.get("/api/models/acme/tiny/xet-write-token/main").json()
    headers = {"authorization": f"Bearer {granted['accessToken']}"}
    assert httpx2.post(f"{granted['casUrl']}/v1/shards", content=b"junk", headers=headers).status_code == 400
    assert httpx2.post(f"{granted['casUrl']}/v1/xorbs/default/..%2fx", content=b"", headers=headers).status_code == 404
    assert httpx2.post(f"{hub.url}/xet/..%2f../v1/shards", content=b"", headers=headers).status_code == 404


def chunk(packed: bytes, scheme: int, size: int) -> bytes:
    return b"\0" + len(packed).to_bytes(3, "little") + bytes([scheme]) + size.to_bytes(3, "little") + packed


BOMB = lz4.frame.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("xorb", "problem"),
    [
        (chunk(b"abcd", 0, 4), None),
        (chunk(b"abcd", 0, 5), "does not unpack to its size"),
        (chunk(b"abcd", 7, 4), "Unknown compression"),
        (chunk(b"abcd" * 9, 1, 4), "not LZ4"),
        (chunk(lz4.frame.compress(b"abcd")[:-9], 1, 4), "does not unpack to its size"),
        (chunk(lz4.frame.compress(b"abcd"), 1, 4), None),
        (chunk(lz4.frame.compress(b"abcd"), 2, 4), None),
        (chunk(BOMB, 1, 4), "does not unpack to its size"),
        (chunk(b"", 0, 0xFFFFFF), "more than"),
        (b"\0\0", "fewer chunks"),
        (b"", "fewer chunks"),
    ],
)
def test_a_xorb_gives_exactly_what_the_shard_says_or_nothing(tmp_path: Path, xorb: bytes, problem: str | None) -> None:
    sha256 = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"
    recipe = xet.Recipe(sha256, (xet.Segment("x", 0, 1, 4),))
    (tmp_path / "x").write_bytes(xorb)
    objects = ObjectStore(tmp_path / "objects")
    if problem is None:
        assert xet.assemble(recipe, lambda name: tmp_path / name, objects).size == 4
        return
    with pytest.raises(BadRequestError, match=problem):
        xet.assemble(recipe, lambda name: tmp_path / name, objects)
    assert not objects.has(sha256)
    assert list((tmp_path / "objects").iterdir()) == []


def test_a_shard_that_promises_more_than_it_has_is_refused() -> None:
    header = struct.pack("<32sQQ", b"x" * 32, 2, 0)
    for rest in (b"", struct.pack("<32sIIII", b"f" * 32, 1 << 30, 4_000_000_000, 0, 0)):
        with pytest.raises(BadRequestError, match="too early"):
            xet.parse_shard(header + rest)
    with pytest.raises(BadRequestError, match="version"):
        xet.parse_shard(struct.pack("<32sQQ", b"x" * 32, 9, 0))
