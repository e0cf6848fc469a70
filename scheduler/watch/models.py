"""What a model repo holds: its weights, and the result files on main and on open pull requests."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Model, ResultFile, now
from scheduler.hub import Hub, Missing, ModelHead, PullRequestHead, TreeFile
from scheduler.watch.claims import Place, Reading, reconcile, withdraw_ref
from scheduler.watch.contents import content_digest
from specs import eval_results
from specs.bounded_yaml import MAX_BYTES
from specs.errors import SubmissionError

MAX_RESULT_FILES = 500
"""On one ref of one model; more are not read, and the reason stands with the model."""

MAIN = "main"


def look_at_model(database: Database, hub: Hub, model_id: str, own_name: str | None) -> None:
    """Bring the claims of one model up to date.

    Costs two requests where nothing changed, and one more for each result file that did.
    """
    head = hub.model(model_id)
    with database.reading() as session:
        known = session.get(Model, model_id)
    main_files = (
        _look_at_main(database, hub, model_id, head)
        if known is None or known.revision != head.revision
        else _remembered(database, model_id, MAIN)
    )
    looked_at: dict[str, str] = dict(known.heads) if known else {}
    # What the farm itself proposes, a verifyToken on an entry, is no claim of anybody's.
    proposed = [pr for pr in hub.pull_requests(model_id) if pr.author != own_name]
    for pull_request in proposed:
        if looked_at.get(pull_request.ref) != pull_request.commit:
            _look_at_pull_request(database, hub, model_id, pull_request, main_files)
    heads = {pr.ref: pr.commit for pr in proposed}
    with database.transaction() as session:
        for ref in looked_at.keys() - heads.keys():
            withdraw_ref(session, model_id, ref, "its pull request was merged or closed")
        model = session.get_one(Model, model_id)
        model.revision, model.gated, model.heads, model.looked_at = head.revision, head.gated, heads, now()


def _look_at_main(database: Database, hub: Hub, model_id: str, head: ModelHead) -> dict[str, str]:
    files = hub.tree(model_id, head.revision)
    with database.transaction() as session:
        model = session.get(Model, model_id) or Model(model_id=model_id)
        session.add(model)
        model.weights_sha256 = content_digest(files)
        model.weights_bytes = sum(file.size_bytes for file in files if file.path.endswith(".safetensors")) or None
    results = _result_files(files)
    place = Place(model_id, MAIN, None, head.revision, model_id.partition("/")[0])
    _read_changed(database, hub, place, results)
    return results


def _look_at_pull_request(
    database: Database, hub: Hub, model_id: str, pull_request: PullRequestHead, main_files: dict[str, str]
) -> None:
    results = _result_files(hub.tree(model_id, pull_request.commit))
    # A pull request carries main's files too; only what it adds or changes is its own.
    own = {path: blob for path, blob in results.items() if main_files.get(path) != blob}
    place = Place(model_id, pull_request.ref, pull_request.number, pull_request.commit, pull_request.author)
    _read_changed(database, hub, place, own)


def _read_changed(database: Database, hub: Hub, place: Place, files: dict[str, str]) -> None:
    """Read the files whose content is new and bring their claims up to date, each in a transaction of its own."""
    before = _remembered(database, place.model_id, place.ref)
    for path in sorted(files.keys() | before.keys()):
        if files.get(path) == before.get(path):
            continue
        reading = _read(hub, place, path) if path in files else Reading((), ())
        with database.transaction() as session:
            reconcile(session, place, path, files.get(path, ""), reading)
            _remember(session, place, path, files.get(path))


def _read(hub: Hub, place: Place, path: str) -> Reading:
    try:
        text = hub.read_file("model", place.model_id, place.commit, path, MAX_BYTES)
    except Missing:
        return Reading((), ())
    except SubmissionError as error:
        return Reading((), (str(error),))
    parsed = eval_results.parse(text)
    return Reading(parsed.entries, parsed.reasons)


def _result_files(files: list[TreeFile]) -> dict[str, str]:
    """Blob id by path."""
    found = {file.path: file.blob_id for file in files if eval_results.is_result_path(file.path)}
    return dict(sorted(found.items())[:MAX_RESULT_FILES])


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
