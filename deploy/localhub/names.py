"""Names that come from outside (repos, files, revisions, users) and what makes one acceptable.

Everything that ends up in a path or a git argument passes here first, so that nothing can climb out of the folder or
be read as an option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from deploy.localhub.errors import BadRequestError, RepoNotFoundError, RevisionNotFoundError

MAX_PATH_BYTES = 1024
MAX_REVISION_CHARS = 200

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_PULL_REQUEST = re.compile(r"refs/pr/([1-9][0-9]{0,8})")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RepoType(StrEnum):
    """The kinds of repo that the local Hub keeps."""

    MODEL = "model"
    DATASET = "dataset"


@dataclass(frozen=True, order=True)
class RepoName:
    """One repo: its type and its `namespace/name`, checked on construction.

    Raises:
        RepoNotFoundError: the id is not one that a repo could have.
    """

    type: RepoType
    id: str

    def __post_init__(self) -> None:
        namespace, slash, name = self.id.partition("/")
        if not (slash and is_name(namespace) and is_name(name)) or name.endswith(".git"):
            raise RepoNotFoundError(self.id)

    @property
    def namespace(self) -> str:
        """The user or organisation that the repo belongs to."""
        return self.id.partition("/")[0]

    @property
    def web_path(self) -> str:
        """The path of its page, as on huggingface.co: models have no prefix."""
        return f"datasets/{self.id}" if self.type is RepoType.DATASET else self.id

    @property
    def label(self) -> str:
        """How messages speak of it."""
        return f"{self.type} {self.id}"


def model(repo_id: str) -> RepoName:
    """Name a model repo."""
    return RepoName(RepoType.MODEL, repo_id)


def dataset(repo_id: str) -> RepoName:
    """Name a dataset repo."""
    return RepoName(RepoType.DATASET, repo_id)


def is_name(text: str) -> bool:
    """Whether this can be a namespace, a repo's name or a user's name (the rules of huggingface_hub)."""
    return _NAME.fullmatch(text) is not None and ".." not in text and "--" not in text


def check_user(name: str) -> str:
    """Return the user or organisation name, or raise BadRequestError."""
    if not is_name(name):
        raise BadRequestError(f"Not a user name: {name!r}")
    return name


def check_path(path: str) -> str:
    """Return a path inside a repo, or raise BadRequestError for one that no repo may hold."""
    parts = path.split("/")
    if (
        not path
        or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES
        or _CONTROL.search(path)
        or "\\" in path
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    ):
        raise BadRequestError(f"Not a path that a repo can hold: {path[:200]!r}")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise BadRequestError("A path in a repo is UTF-8") from error
    return path


def ref_of(revision: str) -> str:
    """The full ref that a branch name or `refs/pr/N` stands for.

    Raises:
        RevisionNotFoundError: no ref, tag or commit can have that name.
    """
    if _PULL_REQUEST.fullmatch(revision):
        return revision
    if not is_ref_name(revision) or revision.startswith("refs/"):
        raise RevisionNotFoundError(revision[:MAX_REVISION_CHARS])
    return f"refs/heads/{revision}"


def is_ref_name(name: str) -> bool:
    """Whether a branch or tag may be called that (a narrower rule than git's)."""
    return (
        len(name) <= MAX_REVISION_CHARS
        and _REF_NAME.fullmatch(name) is not None
        and ".." not in name
        and not name.endswith(("/", "."))
        and all(part and not part.startswith(".") and not part.endswith(".lock") for part in name.split("/"))
    )


def is_commit(text: str) -> bool:
    """Whether this has the form of a commit id, whole or shortened to 7 digits or more."""
    return _COMMIT.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Whether this has the form of a SHA-256 in hexadecimal."""
    return _SHA256.fullmatch(text) is not None


def pull_request_number(revision: str) -> int | None:
    """N of `refs/pr/N`; None for any other revision."""
    match = _PULL_REQUEST.fullmatch(revision)
    return int(match[1]) if match else None
