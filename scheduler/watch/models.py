"""What a model repo holds: its weights, and the result files on main and on open pull requests."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache

from sqlalchemy import select

from scheduler.database.session import Database
from scheduler.database.tables import BEING_LOOKED_AT, UNREADABLE, Claim, Model, now
from scheduler.hub.answers import ModelHead, PullRequestHead, TreeFile
from scheduler.hub.hub import MAX_COMMITS, Hub
from scheduler.hub.hub_errors import Missing
from scheduler.own_faults import OURS
from scheduler.watch import stale_walks
from scheduler.watch.claims import Place, withdraw_refs
from scheduler.watch.contents import content_digest
from scheduler.watch.result_files import Access, Base, known_files, read_changed, result_files
from specs.engines.model_config import MAX_CONFIG_BYTES, READING, ModelConfig, read_config
from specs.engines.model_quantization import QUANTIZATION_FILE
from specs.engines.model_size import ModelSize
from specs.engines.model_tokenizer import is_tokenizer_file
from specs.engines.model_weights import MAX_WEIGHTS_BYTES, is_adapter_file, is_mistral_file, is_weights_file
from specs.engines.redirects import leads_elsewhere
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.text import clean

log = logging.getLogger(__name__)

MAX_ASKED = 50
"""Of the pull requests that are behind the list of the newest, in one look: whoever opens hundreds has the others of
them asked after another time, and keeps the farm from no other model."""

FEW_COMMITS = 50
"""Of a pull request, newest first, among which main's head is looked for before anything else is asked."""

MISTRAL_ALONE = (
    "the model repo's weights are in Mistral's own format alone (consolidated*.safetensors), which this farm does not"
    " load: add weights in Transformers' format (model.safetensors with its config.json) beside them"
)

NO_TOKENIZER = (
    "the model repo has no tokenizer that loads without code (tokenizer.json, tokenizer.model, vocab.json, vocab.txt,"
    " spiece.model, tekken.json …), and this farm runs no model's code: add a tokenizer.json, even if the tokenizer is"
    " that of a base model"
)

MAIN = "main"
NOT_READ = ""
"""Instead of the commit at which a ref was looked at, where it is to be looked at again whether or not that changes: of
a pull request, `Access.state_of` it."""


def look_at_model(database: Database, hub: Hub, model_id: str, own_name: str | None) -> None:
    """Bring the claims of one model up to date.

    Costs two requests where nothing changed, one more for each result file that did, and one for a config.json beside
    changed weights, or two where another file says how those are packed. A pull request that changed and has results of
    its own costs one more, and a few where main went on since it branched off (`_branched_off`). What the farm may not
    read costs one refusal in each look, main's tree and the Hub's index; a pull request that stays as it was costs no
    more.

    Raises:
        Gone: the Hub has no such model.
        Moved: it has it under another id.
        HubAway, NoAccess, SubmissionError: main, or who proposes what, could not be read; or another looked meanwhile.
    """
    known = _begun(database, model_id)
    head = hub.model(model_id)
    try:
        _look(database, hub, model_id, head, known, own_name)
    except Missing as error:
        # The model is there: what it held when it was asked for was taken away since.
        raise HubAway(f"{model_id} changed while it was looked at: {error}") from error


def _look(
    database: Database, hub: Hub, model_id: str, head: ModelHead, known: Model | None, own_name: str | None
) -> None:
    looked_at: dict[str, str] = dict(known.heads) if known else {}
    access = Access(hub, model_id, (known.revision, known.heads) if known else (None, {}))
    main_files, all_read = (
        _look_at_main(database, access, head)
        if known is None or not (known.revision == head.revision == looked_at.get(MAIN)) or _lacks_size(known)
        else (known_files(database, hub, model_id, MAIN, head.revision), True)
    )
    heads = {MAIN: head.revision if all_read else NOT_READ}
    try:
        opened, left = _open_pull_requests(database, hub, model_id, own_name, looked_at)
        heads |= {ref: looked_at[ref] for ref in left}
    except NoAccess as error:
        # Its owner has turned discussions off. What stands on main counts all the same; what was read of pull requests
        # earlier stays as it is.
        log.warning("pull requests of %s not read: %s", model_id, error)
        opened, heads = [], {**looked_at, **heads}
    # Asked for once, however many pull requests are behind.
    on_main = cache(lambda: hub.commits(model_id, MAIN, MAX_COMMITS))
    main = _Main(head.revision, main_files, on_main)
    for pull_request in opened:
        heads[pull_request.ref] = pull_request.commit
        if looked_at.get(pull_request.ref) != pull_request.commit:
            try:
                # Of what may still not be read, and is as it was, nothing more is asked.
                is_same = access.refused is not None and looked_at.get(pull_request.ref) == access.state_of(
                    pull_request
                )
                if is_same or not _look_at_pull_request(database, access, pull_request, main):
                    heads[pull_request.ref] = access.state_of(pull_request)
            except Missing as error:
                # Pushed anew since, or not known to all of the Hub's machines yet: the next look reads it.
                log.warning("%s of %s not read: %s", pull_request.ref, model_id, error)
                heads[pull_request.ref] = looked_at.get(pull_request.ref, NOT_READ)
            except SubmissionError as error:
                # Whoever opened it holds up nobody else. Its claims stand as they were last read.
                log.warning("%s of %s not read: %s", pull_request.ref, model_id, error)
            except OURS:
                log.exception("%s of %s: a fault of ours", pull_request.ref, model_id)
    with database.transaction() as session:
        access.alone(session)
        if closed := looked_at.keys() - heads.keys():
            withdraw_refs(session, model_id, closed)
        model = session.get_one(Model, model_id)
        model.gated, model.heads = head.gated, heads
        # What came to be due since this look began is looked at once more: this one may have read what was before.
        if model.looked_at is not None:
            model.looked_at = now()


def _open_pull_requests(
    database: Database, hub: Hub, model_id: str, own_name: str | None, looked_at: Collection[str]
) -> tuple[list[PullRequestHead], set[str]]:
    """Those that make claims, and those of which it was not asked whether they still do.

    What the farm itself proposes, a verifyToken on an entry, is no claim of anybody's.
    """
    listed = [pr for pr in hub.pull_requests(model_id) if pr.author != own_name]
    # The list ends somewhere, so one that is not on it may be open all the same. What makes no claim need not be known.
    missing = set(looked_at) - {MAIN} - {pr.ref for pr in listed}
    if not missing:
        return listed, set()
    living = select(Claim.ref).where(Claim.model_id == model_id, Claim.live).distinct()
    with database.reading() as session:
        missing &= set(session.scalars(living))
    asked = set(random.sample(sorted(missing), min(MAX_ASKED, len(missing))))
    return [*listed, *(hub.still_open(model_id, asked) if asked else ())], missing - asked


def _begun(database: Database, model_id: str) -> Model | None:
    """What is known of a model. Where it is due, it stays so until the look ends, under a mark of its own."""
    with database.transaction() as session:
        known = session.get(Model, model_id, with_for_update=True)
        if known is not None and known.looked_at is None:
            known.looked_at = BEING_LOOKED_AT
        return known


def _look_at_main(database: Database, access: Access, head: ModelHead) -> tuple[dict[str, str], bool]:
    """Returns main's result files, and whether the farm may read all of them."""
    hub, model_id = access.hub, access.model_id
    try:
        files = hub.tree(model_id, head.revision)
    except Missing:
        raise
    except SubmissionError:
        _note_unreadable(database, access, head)
        raise
    digest = content_digest(files)
    with database.reading() as session:
        known = session.get(Model, model_id)
    if known is not None and known.weights_sha256 == digest and not _lacks_size(known):
        size = known.size
    else:
        found = _size(access, head, files)
        size = found.model_dump(mode="json") if found is not None else None
    with database.transaction() as session:
        model = access.alone(session) or Model(model_id=model_id, looked_at=BEING_LOOKED_AT)
        session.add(model)
        if model.weights_sha256 not in (None, digest):
            stale_walks.begin(session, "model", model_id)
        # Together, or a run of what is there now would be planned at the commit of what was there before.
        model.revision, model.weights_sha256 = head.revision, digest
        model.size, model.size_reading = size, READING
        model.weights_bytes = size["file_bytes"] if size is not None else None
    access.seen = (head.revision, access.seen[1])
    results = result_files(files)
    place = Place(model_id, MAIN, None, head.revision, model_id.partition("/")[0])
    return results, read_changed(database, access, place, results)


def _note_unreadable(database: Database, access: Access, head: ModelHead) -> None:
    """Keep what was verified at an earlier commit from passing for what is there now, which nobody can compare."""
    with database.transaction() as session:
        model = access.alone(session)
        if model is not None and model.revision not in (None, head.revision):
            stale_walks.begin(session, "model", model.model_id)
            model.revision, model.weights_sha256 = head.revision, UNREADABLE
            model.size = model.weights_bytes = None


def _lacks_size(model: Model) -> bool:
    """Whether its size is what an earlier version read in the same files, or from before the farm had access."""
    if model.size_reading < READING:
        return True
    return model.gated and model.size is not None and model.size["config"] is None


def _size(access: Access, head: ModelHead, files: list[TreeFile]) -> ModelSize | None:
    """What its files say of a model's size; None where it has no safetensors weights, or others than those."""
    file_bytes = sum(file.size_bytes for file in files if is_weights_file(file.path))
    mistral_bytes = sum(file.size_bytes for file in files if is_mistral_file(file.path))
    if file_bytes == 0 and 0 < mistral_bytes <= MAX_WEIGHTS_BYTES:
        only = {"mistral_format": True, "elsewhere": MISTRAL_ALONE}
        return ModelSize.of_files(mistral_bytes, "its weights are not loaded").model_copy(update=only)
    if not 0 < file_bytes <= MAX_WEIGHTS_BYTES or any(is_adapter_file(file.path) for file in files):
        return None
    config, problem = None, ""
    elsewhere = None if any(is_tokenizer_file(file.path) for file in files) else NO_TOKENIZER
    try:
        text = access.read(head.revision, "config.json", MAX_CONFIG_BYTES)
        elsewhere = leads_elsewhere(text) or elsewhere
        config = _config(access, head.revision, text, files)
    except Missing:
        problem = "it has no config.json"
    except (SubmissionError, NoAccess) as error:
        problem = clean(str(error), 300)
    return ModelSize(
        file_bytes=file_bytes,
        counts=head.counts,
        config=config,
        config_problem=problem,
        mistral_format=mistral_bytes > 0,
        elsewhere=elsewhere or "",
    )


def _config(access: Access, revision: str, text: bytes, files: list[TreeFile]) -> ModelConfig:
    config = read_config(text)
    if config.quantization is None and any(file.path == QUANTIZATION_FILE for file in files):
        return read_config(text, access.read(revision, QUANTIZATION_FILE, MAX_CONFIG_BYTES))
    return config


@dataclass(frozen=True)
class _Main:
    """A model's main branch, as pull requests are held against it."""

    revision: str
    files: dict[str, str]
    """Blob ids of its result files by path."""

    commits: Callable[[], tuple[str, ...]]
    """Newest first; asks the Hub."""


def _look_at_pull_request(database: Database, access: Access, pull_request: PullRequestHead, main: _Main) -> bool:
    """Returns whether the farm may read all that it changes."""
    hub, model_id = access.hub, access.model_id
    results = result_files(hub.tree(model_id, pull_request.commit))
    # A pull request carries main's files too; only what it adds or changes is its own.
    own = {path: blob for path, blob in results.items() if main.files.get(path) != blob}
    # Those of main as it was: the Hub moves no pull request along with main.
    base = _branched_off(hub, model_id, pull_request, main) if own else None
    if base is not None:
        own = {path: blob for path, blob in own.items() if base.files.get(path) != blob}
    place = Place(model_id, pull_request.ref, pull_request.number, pull_request.commit, pull_request.author)
    return read_changed(database, access, place, own, base)


def _branched_off(hub: Hub, model_id: str, pull_request: PullRequestHead, main: _Main) -> Base | None:
    """The newest commit of main that a pull request goes back to; None where that is main's head, or there is none.

    Costs one request where that is main's head; else one more for main's history, which all pull requests share, and
    one for the files; and one for each thousand commits that either has.

    Raises:
        SubmissionError: it lies too far back.
    """
    try:
        newest = hub.commits(model_id, pull_request.ref, FEW_COMMITS)
        if main.revision in newest:
            return None
        on_main = set(main.commits())
        if on_main.isdisjoint(newest) and len(newest) == FEW_COMMITS:
            newest = hub.commits(model_id, pull_request.ref, MAX_COMMITS)
    except NoAccess as error:
        log.warning("history of %s of %s not read: %s", pull_request.ref, model_id, error)
        return None
    commit = next((each for each in newest if each in on_main), None)
    if commit is not None:
        return Base(commit, result_files(hub.tree(model_id, commit)))
    if max(len(newest), len(on_main)) >= MAX_COMMITS:
        raise SubmissionError(f"it is not known where it branched off: that is more than {MAX_COMMITS} commits ago")
    # Of another history altogether.
    return None
