"""Inspect's own log viewer, on the evidence of reproductions: what a model was asked, and what it answered.

The viewer comes with the package `inspect_ai` as built files. It is served as `inspect view bundle` would write it:
a page that is told where logs lie, and logs that are read in ranges. Nothing of the package is imported.
"""

from __future__ import annotations

import json
import mimetypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.problems import NotFound
from scheduler.api.routes.evidence import evidence_file
from scheduler.dashboard.pages import PageRoute

router = APIRouter(prefix="/logs", route_class=PageRoute, include_in_schema=False)

CONTEXT = '<script id="log_dir_context" type="application/json">{"log_dir": "."}</script>'
"""As `inspect view bundle` writes it (inspect_ai/log/_bundle.py): logs lie beside the page."""

HOSTS = ("frame-ancestors 'none'",)
"""What the viewer's policy leaves to whoever serves it."""


@router.get("/")
def viewer_page() -> Response:
    """The viewer; `?log_file=SHA256.eval` opens one log."""
    page = (_dist() / "index.html").read_text(encoding="utf-8")
    headers = {
        "content-security-policy": _policy(),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }
    return HTMLResponse(page.replace("</head>", f"{CONTEXT}</head>", 1), headers=headers)


@router.get("/listing.json")
def no_listing() -> Response:
    """The viewer shows the one log that it is asked for: the list of runs is the dashboard's."""
    return JSONResponse({})


@router.get("/assets/{name}")
def viewer_file(name: Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]) -> Response:
    """A file of the viewer."""
    # Looked up among those that there are, so that no name leads elsewhere.
    found = _assets().get(name)
    if found is None:
        raise NotFound("the log viewer has no such file")
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    # Most names do not change with their content; FileResponse gives an ETag.
    return FileResponse(
        found, media_type=kind, headers={"cache-control": "no-cache", "x-content-type-options": "nosniff"}
    )


@router.get("/{sha256}.eval")
def log(
    request: Request,
    source: TheSource,
    session: Reading,
    sha256: Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}$")],
) -> Response:
    """A run's log under the name by which the viewer knows what it is."""
    return evidence_file(request, source, session, sha256)


@cache
def _dist() -> Path:
    spec = find_spec("inspect_ai")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise NotFound("inspect_ai is not installed, and its log viewer comes with it")
    return Path(places[0]) / "_view" / "dist"


@cache
def _assets() -> dict[str, Path]:
    return {each.name: each for each in (_dist() / "assets").iterdir() if each.is_file()}


@cache
def _policy() -> str:
    """The viewer's own Content-Security-Policy, which names the hashes of its inline scripts."""
    stored: dict[str, Any] = json.loads((_dist() / "content-security-policy.json").read_text(encoding="utf-8"))
    directives: dict[str, list[str]] = stored["directives"]
    return "; ".join([*(" ".join([name, *sources]) for name, sources in directives.items()), *HOSTS])
