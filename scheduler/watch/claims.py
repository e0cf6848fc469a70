"""Result files become claims: new ones, the same ones again, and those that were changed or withdrawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from scheduler.database.deterministic_ids import claim_id_of
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Model, ResultFile, now
from scheduler.record import MAX_REASON_CHARS, add_event, move_claim
from scheduler.state_machine import ClaimState
from scheduler.watch import threads
from scheduler.watch.due_models import mark_due
from specs.hub.eval_results import ResultEntry, SubmittedResult
from specs.hub.submission import SubmissionStatus
from specs.text import clean

MAX_CLAIMS = 2000
"""On one ref of one model, those that were found before first; more are not taken, and a rejected claim says so."""


@dataclass(frozen=True)
class Place:
    """Where result files were read."""

    model_id: str
    ref: str
    pull_request: int | None
    commit: str
    submitter: str

    @property
    def actor(self) -> str:
        """Who is behind a change there, for the record."""
        return f"hub:{self.submitter}"


@dataclass(frozen=True)
class Reading:
    """What a result file holds: entries, or the reasons why it has none."""

    entries: tuple[ResultEntry, ...]
    reasons: tuple[str, ...]
    as_shown: bool = False
    """Whether that is what the Hub itself shows of a file that the farm may not read: maybe an earlier one."""


def reconcile(
    session: Session,
    place: Place,
    path: str,
    blob_id: str,
    reading: Reading,
    carried: Collection[ResultEntry] = (),
) -> bool:
    """Bring the claims of one file up to date with what it holds now; returns whether it was read to its end.

    An entry is the claim it was before while it says the same; a changed value is a new claim, and the old one is
    withdrawn: a verdict on it says nothing about the new one. `carried` are entries that stood in it where its pull
    request branched off.
    """
    found = _without_inherited(session, place, path, _found(place, path, blob_id, reading), carried)
    living = _living(session, Claim.model_id == place.model_id, Claim.ref == place.ref, Claim.path == path)
    known = {claim.slot for claim in living}
    # What is said of a whole file is one claim.
    left_out = [] if reading.reasons else _take_out_what_is_too_much(session, place, path, found, known)
    if left_out:
        found[_digest(place, path, "left out", blob_id, len(left_out))] = _said_of_left_out(left_out)
    for claim in living:
        slot, same = claim.slot, found.get(claim.slot)
        if same is not None and _says_the_same(claim, same):
            claim.entry, claim.commit = same.index, place.commit
            # Where a score comes from may be said later, or corrected; the claim stays the same.
            claim.source_url = same.claim.source_url if same.claim is not None else None
            del found[slot]
        elif same is not None:
            move_claim(session, claim, ClaimState.WITHDRAWN, _what_changed(claim, same), place.actor)
        else:
            move_claim(session, claim, ClaimState.WITHDRAWN, "the entry is gone from its file", place.actor)
    # The old claims leave their slots before new ones take them.
    session.flush()
    for slot, entry in found.items():
        _add(session, place, path, slot, entry)
    return not left_out


def withdraw_refs(session: Session, model_id: str, refs: Collection[str]) -> None:
    """Withdraw every claim on refs that are no longer open, and forget their files."""
    for claim in _living(session, Claim.model_id == model_id, Claim.ref.in_(refs)):
        reason = "its pull request was merged or closed"
        move_claim(session, claim, ClaimState.WITHDRAWN, reason, f"hub:{claim.submitter}")
    session.execute(delete(ResultFile).where(ResultFile.model_id == model_id, ResultFile.ref.in_(refs)))


def withdraw_all(database: Database, model_id: str, now_at: str | None = None) -> None:
    """Withdraw every claim of a model that is gone, or that has another id: there its claims are found anew."""
    why = "the model repo is gone from the Hub" if now_at is None else f"the model repo is {now_at} on the Hub"
    with database.transaction() as session:
        for claim in _living(session, Claim.model_id == model_id):
            move_claim(session, claim, ClaimState.WITHDRAWN, why)
        session.execute(delete(ResultFile).where(ResultFile.model_id == model_id))
        model = session.get(Model, model_id)
        if model is not None:
            model.revision, model.heads, model.looked_at = None, {}, now()
        if now_at is not None:
            mark_due(session, {now_at})


def _living(session: Session, *conditions: ColumnElement[bool]) -> Sequence[Claim]:
    """Living claims, locked: none of them becomes another claim, which nobody would withdraw, before the commit."""
    living = (*conditions, Claim.live)
    # In one order, as everybody who locks several rows.
    locked = select(Claim).where(*living).order_by(Claim.claim_id).with_for_update()
    while True:
        claims = session.scalars(locked, execution_options={"populate_existing": True}).all()
        # What took the place of one that was waited for is not among them: it came after the question.
        if set(session.scalars(select(Claim.claim_id).where(*living))) == {claim.claim_id for claim in claims}:
            return claims


def _found(place: Place, path: str, blob_id: str, reading: Reading) -> dict[str, ResultEntry]:
    """The file's entries by slot. Of two that claim the same, the first counts and the second is rejected."""
    if reading.reasons:
        whole = ResultEntry(0, SubmissionStatus.REJECTED, reading.reasons, (), None)
        return {_digest(place, path, "unreadable", blob_id): whole}
    found: dict[str, ResultEntry] = {}
    for entry in reading.entries:
        slot = _slot(place, path, blob_id, entry)
        if slot in found:
            twice = f"says the same task and notes as entry {found[slot].index} of this file; keep one of them"
            entry = ResultEntry(entry.index, SubmissionStatus.REJECTED, (twice,), entry.warnings, None)  # noqa: PLW2901
            slot = _slot(place, path, blob_id, entry)
        found[slot] = entry
    return found


def _without_inherited(
    session: Session, place: Place, path: str, found: dict[str, ResultEntry], carried: Collection[ResultEntry]
) -> dict[str, ResultEntry]:
    """Drop what a pull request only carries over from main, where it is a claim already, or was one."""
    if place.pull_request is None:
        return found
    on_main = session.scalars(
        select(Claim).where(
            Claim.model_id == place.model_id, Claim.pull_request.is_(None), Claim.path == path, Claim.live
        )
    )
    inherited = {_facts_key(claim) for claim in on_main}
    inherited |= {_facts_key(entry.claim) for entry in carried if entry.claim is not None}
    return {
        slot: entry for slot, entry in found.items() if entry.claim is None or _facts_key(entry.claim) not in inherited
    }


def _take_out_what_is_too_much(
    session: Session, place: Place, path: str, found: dict[str, ResultEntry], known: Collection[str]
) -> list[ResultEntry]:
    """Leave in `found` as many as there may be on a ref; returns the others."""
    others = session.scalar(
        select(func.count()).where(
            Claim.model_id == place.model_id, Claim.ref == place.ref, Claim.path != path, Claim.live
        )
    )
    # None of those that are claims already makes room for another.
    new = [slot for slot in found if slot not in known]
    room = max(0, MAX_CLAIMS - (others or 0) - (len(found) - len(new)))
    return [found.pop(slot) for slot in new[room:]]


def _said_of_left_out(entries: Sequence[ResultEntry]) -> ResultEntry:
    number = len(entries)
    which = "this entry is" if number == 1 else f"this entry and {number - 1} more of this file are"
    reason = f"{which} not read: of the claims of one branch or pull request, {MAX_CLAIMS} are"
    return ResultEntry(entries[0].index, SubmissionStatus.REJECTED, (reason,), (), None)


def _facts_key(said: Claim | SubmittedResult) -> str:
    return json.dumps([said.dataset_id, said.task_id, said.notes, said.value, said.dataset_revision])


def _slot(place: Place, path: str, blob_id: str, entry: ResultEntry) -> str:
    if entry.claim is None:
        return _digest(place, path, "rejected", blob_id, entry.index)
    # With and without tools share dataset and task, so the notes belong to what a claim is.
    return _digest(place, path, entry.claim.dataset_id, entry.claim.task_id, entry.claim.notes)


def _digest(place: Place, *parts: object) -> str:
    return hashlib.sha256(json.dumps([place.model_id, place.ref, *parts]).encode()).hexdigest()


def _says_the_same(claim: Claim, entry: ResultEntry) -> bool:
    if entry.claim is None:
        return claim.state == ClaimState.REJECTED
    return (claim.value, claim.dataset_revision) == (entry.claim.value, entry.claim.dataset_revision)


def _what_changed(claim: Claim, entry: ResultEntry) -> str:
    if entry.claim is None:
        return "the entry cannot be read any more"
    if claim.value != entry.claim.value:
        return f"the value changed from {claim.value} to {entry.claim.value}"
    return f"the dataset revision changed from {claim.dataset_revision} to {entry.claim.dataset_revision}"


def _add(session: Session, place: Place, path: str, slot: str, entry: ResultEntry) -> None:
    facts = _facts(entry.claim)
    claim = Claim(
        claim_id=claim_id_of(session, slot, facts.get("value"), facts.get("dataset_revision")),
        slot=slot,
        model_id=place.model_id,
        ref=place.ref,
        pull_request=place.pull_request,
        path=path,
        entry=entry.index,
        commit=place.commit,
        submitter=place.submitter,
        warnings=list(entry.warnings),
        **facts,
    )
    if entry.claim is None:
        claim.state, claim.reason = ClaimState.REJECTED, clean("; ".join(entry.reasons), MAX_REASON_CHARS)
    else:
        claim.state, claim.reason = ClaimState.SUBMITTED, f"found in {path} on {place.ref}"
    session.add(claim)
    if place.pull_request is not None:
        threads.enter(session, place.model_id, place.pull_request)
    add_event(session, place.actor, "claim", claim.claim_id, claim.state, claim.reason)


def _facts(submitted: SubmittedResult | None) -> dict[str, Any]:
    if submitted is None:
        return {}
    return {
        name: getattr(submitted, name)
        for name in ("dataset_id", "dataset_revision", "task_id", "value", "notes", "source_url")
    }
