"""What people do with a discussion or pull request once it is open: comment, rename, close, open again, merge."""

from __future__ import annotations

from deploy.localhub.commits import CommitText, Written
from deploy.localhub.content import DEFAULT_REVISION, resolve_commit
from deploy.localhub.discussions import ENDED, Discussion, Event, Status
from deploy.localhub.errors import BadRequestError, ConflictError
from deploy.localhub.git import MovedError
from deploy.localhub.hub import LocalHub

_MAIN = f"refs/heads/{DEFAULT_REVISION}"


def comment(hub: LocalHub, discussion: Discussion, author: str, text: str) -> Event:
    """Comment on a discussion in any state."""
    event = hub.storage.discussions.comment(discussion, author, text)
    hub.announce_discussion(discussion, "create", event)
    return event


def edit(hub: LocalHub, discussion: Discussion, author: str, comment_id: str, text: str | None) -> Event:
    """Replace the text of one's own comment, or hide it for good (None)."""
    event = hub.storage.discussions.edit_comment(discussion, comment_id, author, text)
    hub.announce_discussion(discussion, "update", event)
    return event


def rename(hub: LocalHub, discussion: Discussion, author: str, title: str) -> Event:
    """Give it another title."""
    event = hub.storage.discussions.rename(discussion, author, title)
    hub.announce_discussion(discussion, "update")
    return event


def change_status(hub: LocalHub, discussion: Discussion, author: str, status: Status, text: str = "") -> Event:
    """Open or close it, with a comment if there is something to say.

    Raises:
        BadRequestError: another status than those two.
        ConflictError: it was merged, or is in that state already.
    """
    if status not in (Status.OPEN, Status.CLOSED):
        raise BadRequestError("A discussion can be opened or closed")
    event = hub.storage.discussions.set_status(discussion, author, status)
    if text.strip():
        comment(hub, discussion, author, text)
    hub.announce_discussion(discussion, "update")
    return event


def conflicting_files(hub: LocalHub, discussion: Discussion) -> list[str]:
    """The files of a pull request that stand in the way of merging it; nothing once it has ended."""
    if discussion.status in ENDED:
        return []
    git = hub.storage.git(discussion.repo)
    ours = resolve_commit(git, DEFAULT_REVISION)
    return list(git.merge(ours, resolve_commit(git, discussion.ref)).conflicts)


def merge(hub: LocalHub, discussion: Discussion, author: str, text: str = "") -> str:
    """Merge a pull request into `main` and return the merge commit.

    Raises:
        BadRequestError: this is not a pull request.
        ConflictError: it has ended, conflicts with `main`, or `main` moved meanwhile.
    """
    if not discussion.is_pull_request:
        raise BadRequestError("Only a pull request can be merged")
    if discussion.status in ENDED:
        raise ConflictError(f"Pull request {discussion.num} is {discussion.status}")
    git = hub.storage.git(discussion.repo)
    with git.writing():
        ours = resolve_commit(git, DEFAULT_REVISION)
        theirs = resolve_commit(git, discussion.ref)
        merged = git.merge(ours, theirs)
        if merged.tree is None:
            raise ConflictError(f"Conflicts with {DEFAULT_REVISION} in {', '.join(merged.conflicts[:20])}")
        title = CommitText(f"{discussion.title} (#{discussion.num})", author)
        commit = git.commit_tree(merged.tree, (ours, theirs), title.signature())
        try:
            git.move_ref(_MAIN, commit, ours)
        except MovedError as error:
            raise ConflictError("A commit has happened since. Please try again.") from error
    hub.storage.discussions.set_status(discussion, author, Status.MERGED, commit)
    if text.strip():
        comment(hub, discussion, author, text)
    hub.announce_content(discussion.repo, Written(_MAIN, ours, commit))
    hub.announce_discussion(discussion, "update")
    return commit
