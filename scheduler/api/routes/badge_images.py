"""Badges to show: as a picture, for shields.io, and as a piece of a page.

`/badges/{model}/{dataset}/{task}`, each id in its parts. `_` stands for the namespace of an id that has none, and the
task is left out where the benchmark's only task has no id.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from anybadge import Badge as Drawn
from fastapi import APIRouter, Depends, Path, Response

from scheduler.api import pages
from scheduler.api.badge_states import Said, said_of
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.public_urls import claim_url
from specs.api_v1.badges import ShieldsBadge
from specs.text import clean

router = APIRouter(prefix="/badges", tags=["badges"])

LABEL = "reprofarm"
SHOWN_SECONDS = 60
"""So long others may show what they have. GitHub's and shields' caches keep to it."""

NO_NAMESPACE = "_"
CACHED = {"cache-control": f"public, max-age={SHOWN_SECONDS}"}
SVG = "image/svg+xml"

# What comes from a model's page acts nowhere: neither in a picture that is opened by itself, nor in a frame.
SANDBOXED = {**CACHED, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups"}

TaskPart = Annotated[str, Path(min_length=1, max_length=200)]
OF_TASK = "/{model_namespace}/{model_name}/{dataset_namespace}/{dataset_name}/{task:path}"
OF_BENCHMARK = "/{model_namespace}/{model_name}/{dataset_namespace}/{dataset_name}"


@dataclass(frozen=True)
class _Pair:
    model: str
    dataset: str


def _pair(
    model_namespace: pages.NamePart,
    model_name: pages.NamePart,
    dataset_namespace: pages.NamePart,
    dataset_name: pages.NamePart,
) -> _Pair:
    return _Pair(_id(model_namespace, model_name), _id(dataset_namespace, dataset_name))


def _id(namespace: str, name: str) -> str:
    return name if namespace == NO_NAMESPACE else f"{namespace}/{name}"


ThePair = Annotated[_Pair, Depends(_pair)]


@router.get(OF_TASK + ".svg", response_class=Response, responses={200: {"content": {SVG: {}}}})
def badge_picture(session: Reading, pair: ThePair, task: TaskPart) -> Response:
    """A badge as a picture."""
    return _picture(said_of(session, pair.model, pair.dataset, task))


@router.get(OF_BENCHMARK + ".svg", response_class=Response, responses={200: {"content": {SVG: {}}}})
def badge_picture_without_task(session: Reading, pair: ThePair) -> Response:
    """A badge as a picture, where the benchmark's only task has no id."""
    return _picture(said_of(session, pair.model, pair.dataset, None))


@router.get(OF_TASK + ".json")
def badge_for_shields(
    source: TheSource, session: Reading, response: Response, pair: ThePair, task: TaskPart
) -> ShieldsBadge:
    """A badge as shields.io's endpoint badge reads it."""
    response.headers.update(CACHED)
    return _shields(source, said_of(session, pair.model, pair.dataset, task))


@router.get(OF_BENCHMARK + ".json")
def badge_for_shields_without_task(
    source: TheSource, session: Reading, response: Response, pair: ThePair
) -> ShieldsBadge:
    """A badge as shields.io's endpoint badge reads it, where the benchmark's only task has no id."""
    response.headers.update(CACHED)
    return _shields(source, said_of(session, pair.model, pair.dataset, None))


@router.get(OF_TASK + ".html", response_class=Response, responses={200: {"content": {"text/html": {}}}})
def badge_snippet(source: TheSource, session: Reading, pair: ThePair, task: TaskPart) -> Response:
    """A badge as a piece of HTML that links to its claim; for a frame, or to be copied."""
    return _snippet(source, pair, task, said_of(session, pair.model, pair.dataset, task))


@router.get(OF_BENCHMARK + ".html", response_class=Response, responses={200: {"content": {"text/html": {}}}})
def badge_snippet_without_task(source: TheSource, session: Reading, pair: ThePair) -> Response:
    """A badge as a piece of HTML, where the benchmark's only task has no id."""
    return _snippet(source, pair, None, said_of(session, pair.model, pair.dataset, None))


def badge_path(model: str, dataset: str, task: str | None) -> str:
    """Where a badge is served, less the ending."""
    parts = [*_parts(model), *_parts(dataset), *([task] if task is not None else [])]
    return f"{router.prefix}/{'/'.join(quote(part, safe='') for part in parts)}"


def picture(said: Said) -> str:
    """The SVG, in the look of shields.io, with its words for those who hear them."""
    message = clean(said.message, 100)
    drawn = Drawn(LABEL, message, default_color=said.colour)
    # It counts up with each badge that a process draws, and the same badge has to have the same ETag.
    drawn.mask_str = "reprofarm"
    words = html.escape(f"{LABEL}: {message}")
    text = str(drawn.badge_svg_text)
    start, _, rest = text.partition("<svg ")
    first, _, rest = rest.partition(">")
    return f'{start}<svg role="img" aria-label="{words}" {first}><title>{words}</title>{rest}'


def _picture(said: Said) -> Response:
    return Response(picture(said), media_type=SVG, headers=SANDBOXED)


def _shields(source: Source, said: Said) -> ShieldsBadge:
    return ShieldsBadge.model_validate(
        {
            "label": LABEL,
            "message": said.message,
            "color": said.colour,
            "isError": said.state in ("mismatch", "revoked"),
            "cacheSeconds": SHOWN_SECONDS,
            "state": said.state,
            "claim_url": _claim_url(source, said),
        }
    )


def _snippet(source: Source, pair: _Pair, task: str | None, said: Said) -> Response:
    image = f"{source.settings.public_url.rstrip('/')}{badge_path(pair.model, pair.dataset, task)}.svg"
    words = html.escape(f"{LABEL}: {said.message}")
    shown = f'<img src="{html.escape(image)}" alt="{words}" height="20">'
    url = _claim_url(source, said)
    if url is not None:
        shown = f'<a href="{html.escape(url)}" target="_blank" rel="noopener">{shown}</a>'
    headers = {
        **CACHED,
        "content-security-policy": "default-src 'none'; img-src 'self' http: https:; sandbox allow-popups",
    }
    return Response(shown + "\n", media_type="text/html; charset=utf-8", headers=headers)


def _parts(repo_id: str) -> list[str]:
    namespace, _, name = repo_id.rpartition("/")
    return [namespace or NO_NAMESPACE, name]


def _claim_url(source: Source, said: Said) -> str | None:
    return claim_url(source.settings.public_url, said.claim_id) if said.claim_id is not None else None
