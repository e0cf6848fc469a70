"""The result files of one branch or pull request: which are read, what each says, and which were read before."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Model, ResultFile
from scheduler.hub.answers import PullRequestHead, TreeFile
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing
from scheduler.watch.claims import Place, Reading, reconcile
from specs.bounded_yaml import MAX_BYTES
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.hub import eval_results
from specs.hub.eval_results import ResultEntry
from specs.hub.leaderboard import parse_model_eval_results

log = logging.getLogger(__name__)

MAX_RESULT_FILES = 500
"""On one ref of one model, those that were read before first. More are not read, and a rejected claim says so."""

LEFT_OUT = "left out: "
"""With how many there are, instead of the blob of the first result file that is not read."""

IN_PART = "in part"
"""Instead of the blob of a file of which not all entries were taken: it is read anew when its ref changes, as there may
be room for them."""

AS_SHOWN = "as shown"
"""Instead of the blob of a file of which only the Hub's own index was read: by the next look that may say more."""


@dataclass(frozen=True)
class Base:
    """Where a pull request branched off, if main has gone on since."""

    commit: str
    files: dict[str, str]
    """Blob ids of its result files by path."""


@dataclass
class Access:
    """What one look at a model may read and write.

    It reads nothing more once the Hub refused one file, as a repo is gated as a whole.
    """

    hub: Hub
    model_id: str
    seen: tuple[str | None, dict[str, Any]]
    """The model's revision and heads as they were when this look began, or as it wrote them."""

    refused: NoAccess | None = None

    def alone(self, session: Session) -> Model | None:
        """The model, locked, if nobody else has looked at it meanwhile: else what this look read may be the older.

        Raises:
            HubAway: somebody has, while this process was frozen, say; it is to be looked at again.
        """
        # Not `FOR UPDATE`: whoever enters a run of the model would wait for it, with claims that this look waits for.
        model = session.get(Model, self.model_id, with_for_update={"key_share": True})
        if self.seen != ((model.revision, model.heads) if model is not None else (None, {})):
            raise HubAway(f"{self.model_id} was looked at by another meanwhile")
        return model

    def read(self, commit: str, path: str, max_bytes: int = MAX_BYTES) -> bytes:
        """A file.

        Raises:
            NoAccess: it may not be read; the Hub is asked no more than once.
            SubmissionError, HubAway: as `Hub.read_file`.
        """
        if self.refused is not None:
            raise self.refused
        try:
            return self.hub.read_file("model", self.model_id, commit, path, max_bytes)
        except NoAccess as error:
            self.refused = error
            raise

    @cached_property
    def shown(self) -> list[object]:
        """What the Hub's own index says of all branches and pull requests."""
        return self.hub.eval_results(self.model_id)

    def state_of(self, pull_request: PullRequestHead) -> str:
        """All that can be known of a pull request with files that may not be read: its commit, and what is shown."""
        own = [each for each in self.shown if isinstance(each, dict) and each.get("pullRequest") == pull_request.number]
        lines = sorted(json.dumps(each, sort_keys=True) for each in own)
        return f"{pull_request.commit} {AS_SHOWN} {hashlib.sha256(json.dumps(lines).encode()).hexdigest()}"


def read_changed(
    database: Database, access: Access, place: Place, files: dict[str, str], base: Base | None = None
) -> bool:
    """Read the files whose content is new and bring their claims up to date, each in a transaction of its own.

    Returns whether the farm may read all of them: else they are to be looked at again, at whatever commit.

    Raises:
        HubAway: the Hub is, or somebody else has looked at the model meanwhile.
    """
    all_read = True
    before = _remembered(database, place.model_id, place.ref)
    files = _as_many_as_are_read(files, before)
    for path in sorted(files.keys() | before.keys()):
        if files.get(path) == before.get(path):
            continue
        carried: tuple[ResultEntry, ...] = ()
        if path not in files:
            reading: Reading | None = Reading((), ())
        elif files[path].startswith(LEFT_OUT):
            reading = Reading((), (_said_of_left_out(files[path]),))
        else:
            reading = _read(access, place, path)
            if reading is not None and base is not None and path in base.files:
                carried = _entries_at(access, base.commit, path)
        if reading is None or reading.as_shown:
            all_read = False
        if reading is None:
            continue
        with database.transaction() as session:
            access.alone(session)
            whole = reconcile(session, place, path, files.get(path, ""), reading, carried)
            blob_id = AS_SHOWN if reading.as_shown else files.get(path)
            _remember(session, place, path, blob_id if whole else IN_PART)
    return all_read


def _entries_at(access: Access, commit: str, path: str) -> tuple[ResultEntry, ...]:
    """What a file said at a commit; nothing where it cannot be read.

    Raises:
        Missing: the Hub does not have what it lists.
    """
    try:
        return eval_results.parse(access.read(commit, path)).entries
    except Missing:
        raise
    except (SubmissionError, NoAccess):
        return ()


def _read(access: Access, place: Place, path: str) -> Reading | None:
    """What a file holds; None where that cannot be known today.

    Raises:
        Missing: the Hub does not have what it lists.
    """
    try:
        text = access.read(place.commit, path)
    except Missing:
        # It stands in the commit's tree: that commit is gone since, or this machine of the Hub does not know it yet.
        raise
    except NoAccess as error:
        reading = _as_shown(access.shown, place, path)
        if reading is None:
            log.warning("%s, and the Hub shows nothing of %s on %s", error, path, place.ref)
        return reading
    except SubmissionError as error:
        return Reading((), (str(error),))
    parsed = eval_results.parse(text)
    return Reading(parsed.entries, parsed.reasons)


def _as_shown(shown: list[object], place: Place, path: str) -> Reading | None:
    """What the Hub itself shows of a file that the farm may not read; None where that is nothing.

    The results of a gated model are no secret. So a claim is known there too, and says whose move it is.
    """
    own = [
        item
        for item in shown
        if isinstance(item, dict) and (item.get("filename"), item.get("pullRequest")) == (path, place.pull_request)
    ]
    return Reading(parse_model_eval_results(own), (), as_shown=True) if own else None


def result_files(files: list[TreeFile]) -> dict[str, str]:
    """Blob id by path."""
    return {file.path: file.blob_id for file in files if eval_results.is_result_path(file.path)}


def _as_many_as_are_read(files: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Those of a ref's files that are read, and the first of the others, which stands for all of them."""
    known = {path for path, blob_id in before.items() if not blob_id.startswith(LEFT_OUT)}
    # Else whoever adds files that come first in the alphabet would take away the claims of the last.
    in_order = sorted(files, key=lambda path: (path not in known, path))
    found = {path: files[path] for path in in_order[:MAX_RESULT_FILES]}
    for path in in_order[MAX_RESULT_FILES : MAX_RESULT_FILES + 1]:
        found[path] = f"{LEFT_OUT}{len(files) - MAX_RESULT_FILES}"
    return found


def _said_of_left_out(mark: str) -> str:
    number = int(mark.removeprefix(LEFT_OUT))
    which = "this file is" if number == 1 else f"this file and {number - 1} more are"
    return f"{which} not read: of the result files of one branch or pull request, {MAX_RESULT_FILES} are"


def known_files(database: Database, hub: Hub, model_id: str, ref: str, commit: str) -> dict[str, str]:
    """The result files of a ref that was looked at before, at this commit."""
    files = _remembered(database, model_id, ref)
    if any(blob_id.startswith((LEFT_OUT, IN_PART, AS_SHOWN)) for blob_id in files.values()):
        # Those that are not read, in part, or only as the Hub shows them, are there all the same.
        return result_files(hub.tree(model_id, commit))
    return files


def _remembered(database: Database, model_id: str, ref: str) -> dict[str, str]:
    with database.reading() as session:
        rows = session.scalars(select(ResultFile).where(ResultFile.model_id == model_id, ResultFile.ref == ref))
        return {row.path: row.blob_id for row in rows}


def _remember(session: Session, place: Place, path: str, blob_id: str | None) -> None:
    if blob_id is not None:
        session.merge(ResultFile(model_id=place.model_id, ref=place.ref, path=path, blob_id=blob_id))
        return
    row = session.get(ResultFile, (place.model_id, place.ref, path))
    if row is not None:
        session.delete(row)
