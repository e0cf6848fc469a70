"""Snapshots of models and datasets at a commit. Everything is fetched before a run; the run itself is offline."""

from __future__ import annotations

import glob
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, TypeAlias

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import disable_progress_bars

from specs.engines.model_tokenizer import is_tokenizer_file
from specs.engines.model_weights import is_weights_file
from specs.errors import HubAway, NoAccess
from specs.messages import ModelRef, TaskRef
from specs.processes.bounded_answers import OTHER_SHAPES, one_question
from specs.processes.hub_client import hub_client
from specs.processes.hub_client_hooks import refuses_token, seconds_asked
from specs.text import clean
from workers.disk_faults import is_full_disk
from workers.errors import DiskFull, ModelError, SpecError
from workers.settings import WorkerSettings
from workers.snapshots.cache_room import COMPLETE, HUB, make_room, repo_folder, snapshot_name, unfinished_in_words
from workers.snapshots.cache_space import CacheSpace, cache_space
from workers.snapshots.checksums import wrong_file
from workers.snapshots.snapshot_uses import SnapshotUses
from workers.snapshots.weights import NO_SAFETENSORS

_log = logging.getLogger(__name__)

# What vLLM needs beside weights and tokenizer, of a model that brings no code. Weights in pickles and Python files stay
# behind.
_MODEL_FILE = re.compile(
    r"model\.safetensors\.index\.json"
    r"|(?:config|hf_quant_config|generation_config|preprocessor_config|processor_config|video_preprocessor_config)\.json"
    r"|(?:tokenizer_config|special_tokens_map|added_tokens|chat_template)\.json"
    r"|merges\.txt|chat_template\.jinja"
)
_LEADS_OUT = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")

_GIB = 2**30
HUB_SECONDS = 30.0
"""The patience with a Hub that says nothing."""

KEPT_FREE_PART = 0.05
"""Of the cache folder's disk, or of what it may take: older snapshots give way before a download leaves less."""

_CODE_SUFFIXES = (".py", ".pyc", ".so", ".pkl", ".pickle", ".pt", ".pth")

_Kind: TypeAlias = Literal["model", "dataset"]
_Choice: TypeAlias = Callable[[Sequence[RepoFile]], list[RepoFile]]
"""Which files of a repo are wanted."""


@dataclass(frozen=True)
class Snapshots:
    """Fetches repos into a cache, each commit into a folder whose path names it.

    What is handed out within a block of `uses.held()` stays until that ends; else it may give way to another one.
    """

    folder: Path
    api: HfApi
    max_dataset_bytes: int
    left_free_bytes: int = 0
    """Of the cache: nothing is downloaded that would leave less."""

    size_bytes: int | None = None
    """What the cache may take; None is all of its disk."""

    def __post_init__(self) -> None:
        """Have huggingface_hub use a worker's client.

        Bounded is what it asks of the Hub's API, and not files: they have the sizes that the API says, for which there
        is room.
        """
        api = f"{self.api.endpoint}/api/"
        set_client_factory(lambda: hub_client(self.api.endpoint, HUB_SECONDS, bounded_below=api))

    @classmethod
    def of(cls, settings: WorkerSettings, left_free_bytes: int = 0) -> Self:
        """Those of a worker."""
        # They are for a terminal, and a worker has a log.
        disable_progress_bars()
        token = settings.hub_token.get_secret_value() if settings.hub_token is not None else False
        return cls(
            settings.cache_folder,
            # False, not None: the client would else look for a token in this machine's files.
            HfApi(endpoint=settings.hub_endpoint, token=token, library_name="reprofarm"),
            int(settings.max_dataset_gib * _GIB),
            left_free_bytes,
            settings.cache_size,
        )

    @cached_property
    def uses(self) -> SnapshotUses:
        """Who uses what of the cache."""
        return SnapshotUses(self.folder / "in-use")

    def model(self, ref: ModelRef) -> Path:
        """The folder of a model at its commit: safetensors, config and tokenizer only.

        Raises:
            HubAway: the Hub does not answer.
            NoAccess: the repo is gated or private.
            ModelError: the repo, the commit or safetensors weights do not exist.
            DiskFull: it does not fit into the cache folder.
        """

        def wanted(files: Sequence[RepoFile]) -> list[RepoFile]:
            chosen = [
                file
                for file in files
                if is_weights_file(file.path) or is_tokenizer_file(file.path) or _MODEL_FILE.fullmatch(file.path)
            ]
            if not any(file.path.endswith(".safetensors") for file in chosen):
                raise ModelError(NO_SAFETENSORS)
            return chosen

        with _model_faults():
            return self._snapshot("model", ref.model_id, ref.revision, wanted)

    def dataset(self, ref: TaskRef) -> Path:
        """The folder of a dataset at its commit, less files that are code.

        Raises:
            HubAway: the Hub does not answer.
            NoAccess: the repo is gated or private.
            SpecError: the repo or the commit does not exist, or the dataset is too large for this worker.
            DiskFull: it does not fit into the cache folder.
        """

        def wanted(files: Sequence[RepoFile]) -> list[RepoFile]:
            chosen = [file for file in files if not file.path.endswith(_CODE_SUFFIXES)]
            size = sum(file.size or 0 for file in chosen)
            if size > self.max_dataset_bytes:
                raise SpecError(
                    f"the dataset repo has {size / 2**30:.1f} GiB; this worker downloads up to "
                    f"{self.max_dataset_bytes / 2**30:.1f} GiB"
                )
            return chosen

        try:
            return self._snapshot("dataset", ref.dataset_id, ref.revision, wanted)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise SpecError(f"{ref.dataset_id} has no commit {ref.revision} on the Hub") from error

    def _snapshot(self, kind: _Kind, repo_id: str, revision: str, wanted: _Choice) -> Path:
        name = snapshot_name(kind, repo_id, revision)
        with _hub_faults(repo_id), _disk_faults(self.folder), self.uses.used(name):
            complete = self.folder / COMPLETE / name
            if complete.is_file() and _is_whole(known := Path(complete.read_text())):
                return known
            return self._fetched(kind, repo_id, revision, wanted, complete)

    def _fetched(self, kind: _Kind, repo_id: str, revision: str, wanted: _Choice, complete: Path) -> Path:
        files = wanted([_sound(file) for file in self._listed(kind, repo_id, revision)])
        folder = repo_folder(kind, repo_id)
        # Other commits of the repo have the same files, and a download that broke off has some of them.
        blobs = (self.folder / HUB).resolve() / folder / "blobs"
        places = [blobs / str(file.lfs.sha256 if file.lfs is not None else file.blob_id) for file in files]
        while True:
            there, lacking = _there(files, places)
            self._make_room(lacking, there)
            with self.uses.filled(folder):
                # Until then another worker that makes room may remove those of other commits.
                if _there(files, places)[1] <= lacking:
                    snapshot = self._downloaded(kind, repo_id, revision, files)
                    break
        complete.parent.mkdir(parents=True, exist_ok=True)
        # Several may come here at once, and an empty path would be the working folder.
        unfinished = complete.with_name(f"{complete.name}.{secrets.token_hex(4)}")
        unfinished.write_text(str(snapshot))
        unfinished.replace(complete)
        return snapshot

    def _listed(self, kind: _Kind, repo_id: str, revision: str) -> list[RepoFile]:
        # Not the `siblings` of its info: of repos with many files the Hub leaves some out there, and says nothing of it
        # (huggingface_hub's pull requests 3122 and 3565). A dataset without some of its questions is another one.
        try:
            with one_question():
                listed = list(self.api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type=kind))
        except HfHubHTTPError:
            # Some of these are ValueErrors too.
            raise
        except OTHER_SHAPES as error:
            # It is no list of files: a proxy's page, say.
            raise _away(repo_id, error) from error
        return [file for file in listed if isinstance(file, RepoFile)]

    def _downloaded(self, kind: _Kind, repo_id: str, revision: str, files: Sequence[RepoFile]) -> Path:
        snapshot = Path(
            self.api.snapshot_download(
                repo_id,
                repo_type=kind,
                revision=revision,
                cache_dir=self.folder / HUB,
                allow_patterns=[glob.escape(file.path) for file in files],
                max_workers=4,
            )
        )
        # Should the Hub go away at the wrong moment, the client hands out what it has instead of failing.
        if wrong := wrong_file(snapshot, files):
            raise HubAway(f"{repo_id}: {clean(wrong, 200)} did not arrive whole, or not as the commit has it")
        return snapshot

    def _make_room(self, needed_bytes: int, wanted: Set[Path]) -> None:
        # What is as it should be, or else just enough.
        for part in (KEPT_FREE_PART, 0):
            space = cache_space(self.folder, self.size_bytes)
            missing = needed_bytes + max(self.left_free_bytes, int(part * space.total)) - space.free
            if missing <= 0 or make_room(self.folder, self.uses, missing, wanted):
                break
        _check_room(self.folder, cache_space(self.folder, self.size_bytes), needed_bytes, self.left_free_bytes)


def _there(files: Sequence[RepoFile], places: Sequence[Path]) -> tuple[Set[Path], int]:
    """Which of the places of files have theirs, and how many bytes the others lack."""
    there = {place for place in places if place.exists()}
    return there, sum(file.size or 0 for file, place in zip(files, places, strict=True) if place not in there)


def _is_whole(snapshot: Path) -> bool:
    """Whether all of a snapshot that arrived is there still: its files are links, and a disk loses what it loses."""
    return snapshot.is_dir() and all(file.exists() for file in snapshot.rglob("*"))


def _sound(file: RepoFile) -> RepoFile:
    """What a Hub lists, as long as it can be a file of a repo: it has a path that stays there, and a size.

    Raises:
        HubAway: it cannot.
    """
    path, size = file.path, file.size
    if not isinstance(path, str) or _LEADS_OUT.search(path) or not isinstance(size, int) or size < 0:
        raise HubAway(f"the Hub lists a file that is none: {clean(repr((path, size)), 200)}")
    return file


@contextmanager
def _model_faults() -> Iterator[None]:
    try:
        yield
    except RepositoryNotFoundError as error:
        raise ModelError("the Hub has no such model, or hides it from this worker's token") from error
    except RevisionNotFoundError as error:
        raise ModelError("the model repo has no such commit") from error


@contextmanager
def _hub_faults(repo_id: str) -> Iterator[None]:
    """Tell apart whose move it is. That a repo or a commit does not exist is left to the caller."""
    try:
        yield
    except GatedRepoError as error:
        raise NoAccess(
            f"{repo_id} is gated: the owner of this worker's token must accept its terms", repo_id
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        if error.response is not None and refuses_token(error.response):
            raise NoAccess(f"{repo_id}: the Hub does not know this worker's token", repo_id) from error
        raise
    except HfHubHTTPError as error:
        raise _refused(repo_id, error) from error
    except LocalEntryNotFoundError as error:
        # What the client makes of a file that it could not get; what the Hub answered is behind it.
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _refused(repo_id, error.__cause__) from error
        raise _away(repo_id, error) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ConnectionError, TimeoutError) as error:
        raise _away(repo_id, error) from error
    except (RuntimeError, OSError) as error:
        if _is_of_xet(error):
            raise _away(repo_id, error) from error
        raise


def _is_of_xet(error: Exception) -> bool:
    """Whether it is what hf_xet (1.8) raises where the store of large files, which is not the Hub itself, is away.

    It is not written in Python, and most of what it raises is a plain RuntimeError.
    """
    return type(error) is RuntimeError or type(error).__module__ == "hf_xet"


def _away(repo_id: str, error: Exception) -> HubAway:
    return HubAway(f"the Hub does not answer for {repo_id}: {type(error).__name__}: {clean(str(error), 200)}")


def _refused(repo_id: str, error: HfHubHTTPError) -> NoAccess | HubAway:
    status = error.response.status_code if error.response is not None else None
    if status in {401, 403}:
        return NoAccess(f"the Hub refuses {repo_id} to this worker's token ({status})", repo_id)
    asked = seconds_asked(error.response.headers) if error.response is not None else None
    return HubAway(f"the Hub answered {status} for {repo_id}", asked)


@contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (OSError, RuntimeError) as error:
        if is_full_disk(error):
            raise DiskFull(f"the disk of the worker's cache folder is full: {clean(str(error), 200)}") from error
        raise


def _check_room(cache: Path, space: CacheSpace, needed_bytes: int, left_free_bytes: int) -> None:
    free = max(0, space.free - left_free_bytes)
    if needed_bytes > free:
        raise DiskFull(
            f"the worker's cache folder has {free / 2**30:.1f} GiB left, and nothing more that could give way; this "
            f"snapshot may need {needed_bytes / 2**30:.1f} GiB{unfinished_in_words(cache)}"
        )
