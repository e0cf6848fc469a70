"""Hubs that refuse, or whose files are out of reach: for tests of what a worker makes of that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.serving import QuietHandler, answered_by
from tests.support.small_repos import COMMIT


@contextmanager
def hub_that_says(status: int, files: Mapping[str, int] | None = None, **headers: str) -> Iterator[str]:
    """Its URL. It answers everything with a status; given `files` (sizes by name), it lists them before it refuses."""
    repo = {
        "id": "org/model",
        "sha": COMMIT,
        "siblings": [{"rfilename": name, "size": size} for name, size in (files or {}).items()],
    }

    tree = [{"type": "file", "path": name, "size": size, "oid": COMMIT} for name, size in (files or {}).items()]

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            listed = files is not None and self.path.startswith("/api/")
            content = json.dumps(tree if "/tree/" in self.path else repo).encode() if listed else b""
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self.answer(200 if listed else status, content, headers=named)

        def do_HEAD(self) -> None:
            self.do_GET()

    with answered_by(Handler) as url:
        yield url


@contextmanager
def hub_without_its_xet_store(size: int) -> Iterator[str]:
    """Its URL. It has weights of that size in a Xet store, as huggingface.co has, and that store does not know them.

    hf_xet tries for minutes where the store is away in other ways; the error that comes of it is of the same kind.
    """
    weights, token = "model.safetensors", f"/api/models/org/model/xet-read-token/{COMMIT}"
    repo = {"id": "org/model", "sha": COMMIT, "siblings": [{"rfilename": weights, "size": size}]}
    tree = [{"type": "file", "path": weights, "size": size, "oid": COMMIT}]

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            here = f"http://{self.headers['host']}"
            if self.path == token:
                named = {"X-Xet-Cas-Url": f"{here}/store", "X-Xet-Access-Token": "t"}
                self.answer(200, headers={**named, "X-Xet-Token-Expiration": str(2**33)})
            elif self.path.startswith("/api/"):
                self.answer(200, json.dumps(tree if "/tree/" in self.path else repo).encode())
            else:
                self.answer(404)

        def do_HEAD(self) -> None:
            self.send_response(200)
            named = {"ETag": f'"{"cd" * 32}"', "X-Repo-Commit": COMMIT, "X-Xet-Hash": "ab" * 32}
            named["Link"] = f'<http://{self.headers["host"]}{token}>; rel="xet-auth"'
            for name, value in {**named, "Content-Length": str(size)}.items():
                self.send_header(name, value)
            self.end_headers()

    with answered_by(Handler) as url:
        yield url
