"""Write a verified claim's proof on the Hub: once for each verdict, however often it is tried and by however many.

What was written is found again by a mark in its text and by its author, the farm's own user. Nothing is written about a
claim that is gone or says something else by now.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from huggingface_hub import CommitOperationAdd, Discussion, DiscussionComment, DiscussionWithDetails
from huggingface_hub.errors import HfHubHTTPError

from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing, TokenRefused, told_apart
from scheduler.publish.others_proofs import is_of_others
from scheduler.publish.result_file import NotEditable, Source, with_proof
from scheduler.publish.text import TITLE_MARK, body_mark, title_mark
from scheduler.watch.contents import content_digest
from specs.bounded_yaml import MAX_BYTES
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.hub.eval_results import SubmittedResult, parse

MAX_OWN_DISCUSSIONS = 500
"""Of the farm on one model repo, newest first; looked through for what was written earlier."""

STILL_OPEN = ("open", "draft")
REVOKED = "The badge in this was revoked while it was being written, so it proves nothing."
TWICE = "The same proof was opened twice at once; the earlier one stands."


@dataclass(frozen=True)
class ClaimPlace:
    """A claim, as it was judged."""

    model_id: str
    pull_request: int | None
    """None is a claim on main."""

    path: str
    entry: int
    dataset_id: str
    task_id: str | None
    value: float
    notes: str | None
    dataset_revision: str | None = None
    """As the claim pins it."""


@dataclass(frozen=True)
class Measured:
    """The files of the model that were run."""

    revision: str
    weights_sha256: str
    """Of their names and contents: `scheduler.watch.contents`."""


@dataclass(frozen=True)
class Publication:
    """What is to be written about one verdict."""

    verdict_id: str
    claim: ClaimPlace
    mode: Literal["comment", "pull_request"]
    token: str | None
    """For the entry's `verifyToken`, in a pull request; None where policy does not want it there."""

    source: Source | None
    """For the entry's `source`, likewise."""

    title: str
    body: str
    measured: Measured | None = None
    """Nothing is written where the model has other files by now; None writes it all the same."""

    thread: int | None = None
    """The farm's own discussion in which it is told, as a comment, in place of what `mode` says; if it takes one."""

    gave: Callable[[str], bool] = lambda _: False
    """Whether the farm gave the badge with an id, which anybody may have written."""


@dataclass(frozen=True)
class Published:
    """What became of it."""

    kind: Literal["published", "already", "kept_out", "withdrawn"]
    """Nothing was written where it is `kept_out` (by somebody else's proof, which the entry carries) or `withdrawn`
    (the claim was gone or had changed)."""

    reason: str
    number: int | None = None
    """Of the pull request or discussion."""

    url: str | None = None


class _ClaimGone(Exception):  # noqa: N818 - a condition, not a mistake
    """The claim that was judged does not stand on the Hub any more; says why."""


def publish(hub: Hub, author: str, publication: Publication) -> Published:
    """Write the proof where policy wants it, unless it stands there or its claim is gone.

    `author` is the farm's own user (`hub.own_name()`).

    Raises:
        HubAway: try again later.
        NoAccess: the farm's token may not write there.
    """
    desk = _Desk(hub, author, publication)
    try:
        with told_apart(f"publishing on {publication.claim.model_id}"):
            if publication.claim.pull_request is not None:
                return desk.comment(publication.claim.pull_request)
            if publication.thread is not None:
                told = desk.written_earlier() or desk.tell(publication.thread)
                if told is not None:
                    return told
            if publication.mode == "comment":
                return desk.discuss()
            return desk.propose()
    except (_ClaimGone, SubmissionError) as gone:
        found = written_earlier(hub, author, publication.claim, publication.verdict_id, publication.thread)
        return found or Published("withdrawn", str(gone))


def written_earlier(
    hub: Hub, author: str, claim: ClaimPlace, verdict_id: str, thread: int | None = None
) -> Published | None:
    """What a try wrote about a verdict whose end nobody entered, as the answer was lost, say; None if nothing.

    Raises:
        HubAway, NoAccess: as above.
    """
    with suppress(Missing), told_apart(f"what was published on {claim.model_id}"):
        return _desk(hub, author, claim, verdict_id, thread).written_earlier()
    return None


def take_back(hub: Hub, author: str, claim: ClaimPlace, verdict_id: str, thread: int | None = None) -> None:
    """Close or hide whatever the farm wrote about a verdict, where that is still open: its badge is revoked by now.

    Raises:
        HubAway, NoAccess: as above.
    """
    desk = _desk(hub, author, claim, verdict_id, thread)
    with suppress(Missing), told_apart(f"taking back what was published on {claim.model_id}"):
        if claim.pull_request is not None:
            desk.hide_comments(claim.pull_request)
        else:
            desk.close_opened()
            if thread is not None:
                desk.hide_comments(thread)


@dataclass(frozen=True)
class _Desk:
    """One publication on its way."""

    hub: Hub
    author: str
    publication: Publication

    def propose(self) -> Published:
        """Open a pull request that adds the proof to the entry."""
        earlier = self._settle(self._opened(pull_requests=True))
        if earlier is not None:
            return earlier
        claim = self.publication.claim
        head = self._head()
        text, index, entry = self._entry(head)
        token = self.publication.token
        if token is not None and is_of_others(entry.verify_token, token, self.publication.gave):
            # No claim that is gone: what the farm said of this score before is set right all the same.
            return self.written_earlier() or Published(
                "kept_out", "the entry carries somebody else's proof, which is not replaced"
            )
        try:
            proven = with_proof(text, index, token, self.publication.source)
        except NotEditable:
            # The author's layout stays as it is; the proof is told instead.
            return self.discuss()
        if proven == text and token is None:
            # The entry names a source of its own, which stays.
            return self.discuss()
        if proven == text:
            return Published("already", "the entry carries the proof")
        made = self.hub.api.create_commit(
            claim.model_id,
            [CommitOperationAdd(claim.path, proven)],
            commit_message=self.publication.title,
            commit_description=self.publication.body,
            parent_commit=head,
            create_pr=True,
        )
        if made.pr_num is None:
            raise HubAway(f"the Hub took the commit {made.oid} and opened no pull request")
        return self._made(made.pr_num, pull_requests=True)

    def discuss(self) -> Published:
        """Open a discussion with the facts and the proof."""
        earlier = self._settle(self._opened(pull_requests=False))
        if earlier is not None:
            return earlier
        self._entry(self._head())
        made = self.hub.api.create_discussion(
            self.publication.claim.model_id, self.publication.title, description=self.publication.body
        )
        return self._made(made.num, pull_requests=False)

    def comment(self, number: int) -> Published:
        """Comment on the pull request that makes the claim."""
        model_id = self.publication.claim.model_id
        found = self.hub.api.get_discussion_details(model_id, number)
        earlier = self._commented(found)
        if earlier is not None:
            return earlier
        if found.status == "merged":
            raise _ClaimGone(f"pull request {number} was merged; the claim stands on main now and is judged there")
        if found.status == "closed":
            raise _ClaimGone(f"pull request {number} was closed")
        # A claim on a pull request is about the model's files on main.
        self._head()
        self._entry(f"refs/pr/{number}")
        return self._say(number)

    def tell(self, number: int) -> Published | None:
        """Comment in the farm's own discussion of an earlier verdict on the same score, whether it is open or not.

        None where it is another's, since the repo was made anew, or is gone, or takes no comment.
        """
        model_id = self.publication.claim.model_id
        try:
            with told_apart(f"discussion {number} of {model_id}"):
                if self.hub.api.get_discussion_details(model_id, number).author != self.author:
                    return None
                self._entry(self._head())
                return self._say(number)
        except TokenRefused:
            raise
        except (Missing, NoAccess):
            # If that is the repo's own, whatever is tried next will say so.
            return None

    def _say(self, number: int) -> Published:
        model_id = self.publication.claim.model_id
        said = self.hub.api.comment_discussion(model_id, number, self.publication.body)
        own = self._own_comments(self.hub.api.get_discussion_details(model_id, number))
        if own and said.id in own[1:]:
            # Another publisher was quicker; both see the same order, so one of the two stays.
            self.hub.api.hide_discussion_comment(model_id, number, said.id)
            return Published("already", "another publisher was quicker", number, self._url(number))
        return Published("published", "commented", number, self._url(number))

    def written_earlier(self) -> Published | None:
        """What stands about this verdict, in whatever way it was written; None if nothing does."""
        claim = self.publication.claim
        if claim.pull_request is not None:
            return self._commented(self.hub.api.get_discussion_details(claim.model_id, claim.pull_request))
        opened = self._settle(self._opened(pull_requests=True)) or self._settle(self._opened(pull_requests=False))
        thread = self.publication.thread
        if opened is not None or thread is None:
            return opened
        with suppress(Missing), told_apart(f"discussion {thread} of {claim.model_id}"):
            return self._commented(self.hub.api.get_discussion_details(claim.model_id, thread))
        return None

    def close_opened(self) -> None:
        """Close the pull requests and discussions that were opened about this verdict."""
        for pull_requests in (True, False):
            for each in self._opened(pull_requests=pull_requests):
                if each.status in STILL_OPEN:
                    self._close(each.num, REVOKED)

    def hide_comments(self, number: int) -> None:
        """Hide what was said about this verdict on the pull request that makes the claim, or in another thread."""
        model_id = self.publication.claim.model_id
        for comment_id in self._own_comments(self.hub.api.get_discussion_details(model_id, number)):
            self.hub.api.hide_discussion_comment(model_id, number, comment_id)

    def _commented(self, found: DiscussionWithDetails) -> Published | None:
        if not self._own_comments(found):
            return None
        return Published("already", "commented earlier", found.num, self._url(found.num))

    def _made(self, number: int, *, pull_requests: bool) -> Published:
        """Look whether another publisher opened the same at the same time; the lower number stands."""
        settled = self._settle(self._opened(pull_requests=pull_requests))
        if settled is not None and settled.number is not None and settled.number < number:
            return settled
        return Published("published", "opened", number, self._url(number))

    def _settle(self, found: list[Discussion]) -> Published | None:
        """What was opened about this verdict; None if nothing was. All but the first are closed."""
        if not found:
            return None
        first, *later = sorted(found, key=lambda each: each.num)
        for double in later:
            if double.status in STILL_OPEN:
                self._close(double.num, TWICE)
        return Published("already", f"opened earlier, and {first.status} now", first.num, self._url(first.num))

    def _close(self, number: int, why: str) -> None:
        model_id = self.publication.claim.model_id
        try:
            self.hub.api.change_discussion_status(model_id, number, "closed", comment=why)
        except HfHubHTTPError:
            # Both publishers see both, so the other may have closed it; the Hub takes that as an error.
            if self.hub.api.get_discussion_details(model_id, number).status in STILL_OPEN:
                raise

    def _opened(self, *, pull_requests: bool) -> list[Discussion]:
        """What the farm opened about this verdict, in any state.

        Its text tells, with which it began: the repo's owner may have renamed it, and a later verdict may be told
        in it. The title only says what need not be looked into: the farm's threads may be many.
        """
        listed = self.hub.api.get_repo_discussions(
            self.publication.claim.model_id,
            author=self.author,
            discussion_type="pull_request" if pull_requests else "discussion",
        )
        mark = title_mark(self.publication.verdict_id)
        return [
            each
            for each in islice(listed, MAX_OWN_DISCUSSIONS)
            if each.author == self.author
            and (each.title.endswith(mark) or TITLE_MARK not in each.title)
            and self._began_with_it(each.num)
        ]

    def _began_with_it(self, number: int) -> bool:
        model_id = self.publication.claim.model_id
        try:
            with told_apart(f"discussion {number} of {model_id}"):
                found = self.hub.api.get_discussion_details(model_id, number)
        except Missing as error:
            # It was listed a moment ago, and perhaps just opened: not all of the Hub's machines know it yet.
            raise HubAway(str(error)) from error
        own = (
            each.content for each in found.events if isinstance(each, DiscussionComment) and each.author == self.author
        )
        return body_mark(self.publication.verdict_id) in next(own, "")

    def _own_comments(self, found: DiscussionWithDetails) -> list[str]:
        return own_comments(found, self.author, self.publication.verdict_id)

    def _head(self) -> str:
        """The commit at which the model's main stands, if its files are still those that were measured."""
        model_id, measured = self.publication.claim.model_id, self.publication.measured
        head = self.hub.model(model_id).revision
        if measured is None or head == measured.revision:
            return head
        if content_digest(self.hub.tree(model_id, head)) != measured.weights_sha256:
            raise _ClaimGone(f"the model's files are others by now than at {measured.revision}, which was measured")
        return head

    def _entry(self, revision: str) -> tuple[bytes, int, SubmittedResult]:
        """The file at a revision, and the claim's entry in it, wherever it has moved within the file."""
        claim = self.publication.claim
        try:
            text = self.hub.read_file("model", claim.model_id, revision, claim.path, MAX_BYTES)
        except Gone as error:
            # The revision was there a moment ago: not all of the Hub's machines know it yet.
            raise HubAway(f"{claim.model_id} changed while it was looked at: {error}") from error
        except Missing as error:
            raise _ClaimGone(f"{claim.path} is gone") from error
        except SubmissionError as error:
            raise _ClaimGone(str(error)) from error
        entries = {entry.index: entry.claim for entry in parse(text).entries if entry.claim is not None}
        # Its own place first: the same entry may stand in the file twice.
        for index in sorted(entries, key=lambda each: each != claim.entry):
            found = entries[index]
            if (found.dataset_id, found.task_id, found.value, found.notes, found.dataset_revision) == (
                claim.dataset_id,
                claim.task_id,
                claim.value,
                claim.notes,
                claim.dataset_revision,
            ):
                return text, index, found
        raise _ClaimGone(f"the entry is gone from {claim.path}, or says something else by now")

    def _url(self, number: int) -> str:
        return f"{self.hub.endpoint}/{self.publication.claim.model_id}/discussions/{number}"


def _desk(hub: Hub, author: str, claim: ClaimPlace, verdict_id: str, thread: int | None) -> _Desk:
    """For a look at what was written about a verdict; it writes nothing new."""
    return _Desk(hub, author, Publication(verdict_id, claim, "comment", None, None, "", "", thread=thread))


def own_comments(found: DiscussionWithDetails, author: str, verdict_id: str) -> list[str]:
    """Ids of an author's comments about a verdict, oldest first."""
    mark = body_mark(verdict_id)
    return [
        event.id
        for event in found.events
        if isinstance(event, DiscussionComment) and event.author == author and mark in event.content
    ]
