"""Write a verified claim's proof on the Hub: once for each verdict, however often it is tried and by however many.

What was written is found again by a mark in its text and by its author, the farm's own user. Nothing is written about a
claim that is gone or says something else by now.
"""

from __future__ import annotations

from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd

from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing, TokenRefused, told_apart
from scheduler.publish.draft import Draft, Published
from scheduler.publish.others_proofs import is_of_others
from scheduler.publish.own_threads import OwnThreads, written_earlier
from scheduler.publish.result_file import NotEditable, with_proof
from scheduler.watch.contents import content_digest
from specs.bounded_yaml import MAX_BYTES
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.hub.eval_results import SubmittedResult, parse


class _ClaimGone(Exception):  # noqa: N818 - a condition, not a mistake
    """The claim that was judged does not stand on the Hub any more; says why."""


def publish(hub: Hub, author: str, draft: Draft) -> Published:
    """Write the proof where policy wants it, unless it stands there or its claim is gone.

    `author` is the farm's own user (`hub.own_name()`).

    Raises:
        HubAway: try again later.
        NoAccess: the farm's token may not write there.
    """
    own = OwnThreads(hub, author, draft.claim, draft.verdict_id, draft.thread)
    writer = _Writer(hub, author, draft, own)
    try:
        with told_apart(f"publishing on {draft.claim.model_id}"):
            if draft.claim.pull_request is not None:
                return writer.comment(draft.claim.pull_request)
            if draft.thread is not None:
                told = own.written_earlier() or writer.tell(draft.thread)
                if told is not None:
                    return told
            if draft.mode == "comment":
                return writer.discuss()
            return writer.propose()
    except (_ClaimGone, SubmissionError) as gone:
        found = written_earlier(hub, author, draft.claim, draft.verdict_id, draft.thread)
        return found or Published("withdrawn", str(gone))


@dataclass(frozen=True)
class _Writer:
    """Writes one draft, unless what the farm wrote of its verdict says that it did."""

    hub: Hub
    author: str
    draft: Draft
    own: OwnThreads

    def propose(self) -> Published:
        """Open a pull request that adds the proof to the entry."""
        earlier = self.own.opened_earlier(pull_requests=True)
        if earlier is not None:
            return earlier
        claim = self.draft.claim
        head = self._head()
        text, index, entry = self._entry(head)
        token = self.draft.token
        if token is not None and is_of_others(entry.verify_token, token, self.draft.gave):
            # No claim that is gone: what the farm said of this score before is set right all the same.
            return self.own.written_earlier() or Published(
                "kept_out", "the entry carries somebody else's proof, which is not replaced"
            )
        try:
            proven = with_proof(text, index, token, self.draft.source)
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
            commit_message=self.draft.title,
            commit_description=self.draft.body,
            parent_commit=head,
            create_pr=True,
        )
        if made.pr_num is None:
            raise HubAway(f"the Hub took the commit {made.oid} and opened no pull request")
        return self._made(made.pr_num, pull_requests=True)

    def discuss(self) -> Published:
        """Open a discussion with the facts and the proof."""
        earlier = self.own.opened_earlier(pull_requests=False)
        if earlier is not None:
            return earlier
        self._entry(self._head())
        made = self.hub.api.create_discussion(self.draft.claim.model_id, self.draft.title, description=self.draft.body)
        return self._made(made.num, pull_requests=False)

    def comment(self, number: int) -> Published:
        """Comment on the pull request that makes the claim."""
        model_id = self.draft.claim.model_id
        found = self.hub.api.get_discussion_details(model_id, number)
        earlier = self.own.commented_earlier(found)
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
        model_id = self.draft.claim.model_id
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
        model_id = self.draft.claim.model_id
        said = self.hub.api.comment_discussion(model_id, number, self.draft.body)
        own = self.own.comments_in(self.hub.api.get_discussion_details(model_id, number))
        if own and said.id in own[1:]:
            # Another publisher was quicker; both see the same order, so one of the two stays.
            self.hub.api.hide_discussion_comment(model_id, number, said.id)
            return Published("already", "another publisher was quicker", number, self.own.url(number))
        return Published("published", "commented", number, self.own.url(number))

    def _made(self, number: int, *, pull_requests: bool) -> Published:
        """Look whether another publisher opened the same at the same time; the lower number stands."""
        settled = self.own.opened_earlier(pull_requests=pull_requests)
        if settled is not None and settled.number is not None and settled.number < number:
            return settled
        return Published("published", "opened", number, self.own.url(number))

    def _head(self) -> str:
        """The commit at which the model's main stands, if its files are still those that were measured."""
        model_id, measured = self.draft.claim.model_id, self.draft.measured
        head = self.hub.model(model_id).revision
        if measured is None or head == measured.revision:
            return head
        if content_digest(self.hub.tree(model_id, head)) != measured.weights_sha256:
            raise _ClaimGone(f"the model's files are others by now than at {measured.revision}, which was measured")
        return head

    def _entry(self, revision: str) -> tuple[bytes, int, SubmittedResult]:
        """The file at a revision, and the claim's entry in it, wherever it has moved within the file."""
        claim = self.draft.claim
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
