"""Feeds of what became of claims, as Atom (RFC 4287)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import APIRouter, Response
from feedgenerator import Atom1Feed
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.problems import NotFound
from scheduler.database.tables import Benchmark, Claim, Model, VerdictRow
from scheduler.public_urls import claim_url
from specs.text import clean

router = APIRouter(prefix="/feeds", tags=["feeds"])

ENTRIES = 50
ATOM = "application/atom+xml"
ATOM_TEXT: dict[int | str, dict[str, object]] = {200: {"content": {ATOM: {}}}}
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class _Feed(Atom1Feed):  # type: ignore[misc]  # has no types
    """Whose time is that of its newest entry; of an empty one, always the same, so that it stays one thing."""

    def latest_post_date(self) -> datetime:
        """When it last changed."""
        return max((item["updateddate"] for item in self.items), default=BEGINNING)


@router.get("/models/{namespace}/{name}.atom", response_class=Response, responses=ATOM_TEXT)
def feed_of_model(source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart) -> Response:
    """Verdicts on a model's claims."""
    return _of_model(source, session, f"{namespace}/{name}")


@router.get("/models/{name}.atom", response_class=Response, responses=ATOM_TEXT)
def feed_of_model_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> Response:
    """Verdicts on the claims of a model whose id has no namespace."""
    return _of_model(source, session, name)


@router.get("/benchmarks/{namespace}/{name}.atom", response_class=Response, responses=ATOM_TEXT)
def feed_of_benchmark(source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart) -> Response:
    """Verdicts on claims on a benchmark."""
    return _of_benchmark(source, session, f"{namespace}/{name}")


@router.get("/benchmarks/{name}.atom", response_class=Response, responses=ATOM_TEXT)
def feed_of_benchmark_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> Response:
    """Verdicts on claims on a benchmark whose id has no namespace."""
    return _of_benchmark(source, session, name)


@router.get("/namespaces/{namespace}.atom", response_class=Response, responses=ATOM_TEXT)
def feed_of_namespace(source: TheSource, session: Reading, namespace: pages.NamePart) -> Response:
    """Verdicts on claims of a user's or an organisation's models, whether or not it has any."""
    # Ids have no character between `/` and `0`; a range uses the index, LIKE may not.
    mine = and_(Claim.model_id > f"{namespace}/", Claim.model_id < f"{namespace}0")
    return _feed(source, session, f"namespaces/{quote(namespace)}", f"models of {namespace}", mine)


def _of_model(source: Source, session: Session, model_id: str) -> Response:
    if session.get(Model, model_id) is None:
        raise NotFound(f"no model {model_id} was seen on the Hub")
    return _feed(source, session, f"models/{quote(model_id)}", model_id, Claim.model_id == model_id)


def _of_benchmark(source: Source, session: Session, dataset_id: str) -> Response:
    if session.get(Benchmark, dataset_id) is None:
        raise NotFound(f"{dataset_id} is no benchmark that is watched")
    return _feed(source, session, f"benchmarks/{quote(dataset_id)}", dataset_id, Claim.dataset_id == dataset_id)


def _feed(source: Source, session: Session, path: str, about: str, condition: ColumnElement[bool]) -> Response:
    base = source.settings.public_url.rstrip("/")
    url = f"{base}/feeds/{path}.atom"
    feed = _Feed(
        title=_text(f"reprofarm: {about}"),
        link=base + "/",
        description="What became of submitted benchmark scores when they were run again.",
        feed_url=url,
        feed_guid=url,
        author_name="reprofarm",
    )
    for claim, verdict in _verdicts(session, condition):
        shown = claim_url(base, claim.claim_id)
        words = f"{claim.model_id} on {claim.dataset_id}, task {claim.task_id or 'without a name'}"
        feed.add_item(
            title=_text(f"{verdict.outcome}: {words}"),
            link=shown,
            # The feed says that it is HTML.
            description=html.escape(_text(str(verdict.verdict["reason"]))),
            unique_id=shown,
            pubdate=claim.created_at,
            updateddate=verdict.decided_at,
            categories=[str(verdict.outcome)],
        )
    return Response(feed.writeString("utf-8"), media_type=ATOM)


def _verdicts(session: Session, condition: ColumnElement[bool]) -> Sequence[tuple[Claim, VerdictRow]]:
    both = VerdictRow.claim_id == Claim.claim_id
    newest_first = (VerdictRow.decided_at.desc(), VerdictRow.claim_id.desc())
    # The latest of what was submitted last: along an index on claims, however many there are.
    latest = (
        select(Claim.claim_id)
        .join(VerdictRow, both)
        .where(condition)
        .order_by(Claim.created_at.desc(), Claim.claim_id.desc())
        .limit(ENTRIES)
    )
    page = session.scalars(latest).all()
    query = select(Claim, VerdictRow).join(VerdictRow, both).where(Claim.claim_id.in_(page)).order_by(*newest_first)
    return [(claim, verdict) for claim, verdict in session.execute(query)]


def _text(text: str) -> str:
    # XML takes no control characters, not even escaped.
    return clean(text, 2000)
