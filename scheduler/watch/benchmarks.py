"""Which benchmarks are watched, and what each one's eval.yaml says."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Benchmark, Marker, SpecFile, now
from scheduler.database.tables.marker import BENCHMARKS_LISTED
from scheduler.hub.answers import BenchmarkHead
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing, Moved
from scheduler.own_faults import OURS
from scheduler.record import SCHEDULER, add_event
from scheduler.watch import stale_walks
from scheduler.watch.contents import dataset_digest
from specs.bounded_yaml import MAX_BYTES
from specs.errors import HubAway, HubBusy, NoAccess, SubmissionError
from specs.hub.dataset_card import Sizes, sizes_of
from specs.ids import is_repo_id
from specs.policy.watch import WatchRules

log = logging.getLogger(__name__)

SPEC_PATH = "eval.yaml"


@dataclass(frozen=True)
class _Found:
    """What a look at the list found."""

    heads: list[BenchmarkHead]
    unread: list[str] = field(default_factory=list)
    """The ids of those that cannot be read today, which are watched all the same."""

    unanswered: list[str] = field(default_factory=list)
    """Those of them, as policy names them, of which the Hub did not even say whether it has them under another id."""


def look_at_benchmarks(database: Database, hub: Hub, watch: WatchRules) -> list[str]:
    """Bring the watched benchmarks up to date; returns the dataset ids of those that are there.

    Raises:
        HubAway: the Hub lists none, or is busy.
        NoAccess: it does not list them to the farm's token.
    """
    began = now()
    found = _Found(hub.benchmarks()) if watch.benchmarks == "official" else _named(hub, watch.benchmarks)
    with database.transaction() as session:
        _enter_list(session, found, began)
    _read_changed(database, hub, found.heads)
    return [head.dataset_id for head in found.heads]


def look_at_benchmark(database: Database, hub: Hub, dataset_id: str) -> None:
    """Bring one of the watched benchmarks up to date.

    Raises:
        HubAway: the Hub does not answer for it.
    """
    _read_changed(database, hub, _named(hub, (dataset_id,)).heads)


def _read_changed(database: Database, hub: Hub, heads: Collection[BenchmarkHead]) -> None:
    for head in heads:
        with database.reading() as session:
            known = session.get(Benchmark, head.dataset_id)
            unchanged = known is not None and (known.revision, known.gated) == (head.revision, head.gated)
        if unchanged:
            continue
        try:
            spec_text(database, hub, head.dataset_id, head.revision)
            sizes = _look_at_content(database, hub, head)
        except HubBusy:
            raise
        except (HubAway, NoAccess, SubmissionError) as error:
            # Left as it was, so that the next scan sees it as changed and reads it again.
            log.warning("benchmark %s not read: %s", head.dataset_id, error)
            continue
        except OURS:
            log.exception("benchmark %s: a fault of ours", head.dataset_id)
            continue
        with database.transaction() as session:
            _remember(session, head, sizes)


def spec_text(database: Database, hub: Hub, dataset_id: str, revision: str) -> bytes | None:
    """The bytes of a dataset's eval.yaml at a commit; None where there is none. Read from the Hub once.

    Raises:
        HubAway: the Hub does not hand it out, or does not know the commit (yet, or any more).
        NoAccess: not to the farm.
    """
    with database.reading() as session:
        known = session.get(SpecFile, (dataset_id, revision))
    if known is not None:
        return known.text
    try:
        text = hub.read_file("dataset", dataset_id, revision, SPEC_PATH, MAX_BYTES)
    except Gone as error:
        # Hidden for an hour, or known to one of the Hub's machines and not yet to another: nothing to be kept for good.
        raise HubAway(f"{dataset_id} changed while it was looked at: {error}") from error
    except Missing:
        text = None
    with database.transaction() as session:
        session.merge(SpecFile(dataset_id=dataset_id, revision=revision, text=text))
    return text


def _look_at_content(database: Database, hub: Hub, head: BenchmarkHead) -> Sizes:
    """Enter what tells whether two commits hold the same samples; how many, as far as the card says.

    The first stays unknown where the dataset has very many files, or a card that is too large to be read.
    """
    sizes: Sizes = {}
    try:
        card = hub.dataset_card(head.dataset_id, head.revision)
        sizes = sizes_of(card)
        files = hub.tree(head.dataset_id, head.revision, "dataset")
    except Missing:
        raise
    except SubmissionError as error:
        log.warning("files of %s not compared with those of other commits: %s", head.dataset_id, error)
        return sizes
    with database.transaction() as session:
        session.get_one(SpecFile, (head.dataset_id, head.revision)).content_sha256 = dataset_digest(files, card)
    return sizes


def _named(hub: Hub, dataset_ids: tuple[str, ...]) -> _Found:
    """Those of an allow-list."""
    found = _Found([])
    away: HubAway | None = None
    for named in dataset_ids:
        dataset_id = named
        try:
            try:
                found.heads.append(hub.benchmark(dataset_id))
            except Moved as moved:
                # Claims name it by the id that it has now.
                dataset_id = moved.now_at
                log.warning("benchmark %s of the allow-list is watched as %s, its id on the Hub", named, dataset_id)
                found.heads.append(hub.benchmark(dataset_id))
        except (Missing, NoAccess) as error:
            log.warning("benchmark %s of the allow-list not found: %s", dataset_id, error)
            found.unread.append(dataset_id)
        except HubBusy:
            raise
        except HubAway as error:
            log.warning("benchmark %s of the allow-list not read: %s", dataset_id, error)
            found.unread.append(dataset_id)
            if dataset_id == named:
                found.unanswered.append(dataset_id)
            away = error
    if away is not None and not found.heads:
        # It is not about one of them.
        raise away
    return found


def _enter_list(session: Session, found: _Found, began: datetime) -> None:
    """Enter which benchmarks are watched, whether or not any more is known of them, by a list that was asked for then.

    Claims on one that cannot be read wait for that; those on others are refused, by a list that is newer than they are.
    What is known of one that is listed no more stays, for its page and in case that it comes back. A list of which
    nobody knows whether it lacks one refuses no claims.
    """
    on = set(session.scalars(select(Benchmark.dataset_id).where(Benchmark.unlisted_at.is_(None))))
    off = set(session.scalars(select(Benchmark.dataset_id).where(Benchmark.unlisted_at.is_not(None))))
    read = set(session.scalars(select(Benchmark.dataset_id).where(Benchmark.revision.is_not(None))))
    in_other_case = {each.lower(): each for each in read}
    # By the id that one has on the Hub, as far as that can be told without it.
    known_as = {each: each if each in read else in_other_case.get(each.lower(), each) for each in found.unread}
    answered = {head.dataset_id: head.gated for head in found.heads}
    listed = dict.fromkeys(filter(is_repo_id, known_as.values()), False) | answered
    unsure = {known_as[each] for each in found.unanswered} - (on & read) - answered.keys()
    is_whole = not (unsure and on - listed.keys())
    if not is_whole:
        # Renamed, each may be one that seems to be missing: neither is entered, or taken off, until the Hub answers.
        listed = {each: gated for each, gated in listed.items() if each not in unsure}
        on &= listed.keys()
    session.add_all(Benchmark(dataset_id=each, gated=listed[each]) for each in sorted(listed.keys() - on - off))
    for dataset_id in sorted(on - listed.keys()):
        session.get_one(Benchmark, dataset_id).unlisted_at = now()
        add_event(session, SCHEDULER, "benchmark", dataset_id, "unlisted", "on no list any more, the Hub's or policy's")
    for dataset_id in sorted(off & listed.keys()):
        session.get_one(Benchmark, dataset_id).unlisted_at = None
        add_event(session, SCHEDULER, "benchmark", dataset_id, "listed", "on the list of benchmarks again")
    for row in session.scalars(select(Benchmark).where(Benchmark.revision.is_(None))):
        row.gated = listed.get(row.dataset_id, row.gated)
    if is_whole:
        session.merge(Marker(name=BENCHMARKS_LISTED, at=began))


def _remember(session: Session, head: BenchmarkHead, sizes: Sizes) -> None:
    row = session.get(Benchmark, head.dataset_id)
    if row is None:
        row = Benchmark(dataset_id=head.dataset_id)
        session.add(row)
    if row.revision not in (None, head.revision):
        stale_walks.begin(session, "benchmark", head.dataset_id)
    why = f"now at {head.revision}" if row.revision else f"watched from {head.revision}"
    row.revision, row.gated, row.sizes, row.seen_at = head.revision, head.gated, sizes, now()
    add_event(session, SCHEDULER, "benchmark", head.dataset_id, "revision", why)
