"""What the farm wrote on the Hub about a verdict: found again by a mark in its text and its author, and taken back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from huggingface_hub import Discussion, DiscussionComment, DiscussionWithDetails
from huggingface_hub.errors import HfHubHTTPError

from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing, told_apart
from scheduler.publish.draft import ClaimPlace, Published
from scheduler.publish.text import TITLE_MARK, body_mark, is_marked, title_mark
from specs.errors import HubAway

MAX_OWN_DISCUSSIONS = 500
"""Of the farm on one model repo, newest first; looked through for what was written earlier."""

STILL_OPEN = ("open", "draft")
REVOKED = "The badge in this was revoked while it was being written, so it proves nothing."
TWICE = "The same proof was opened twice at once; the earlier one stands."


def written_earlier(
    hub: Hub, author: str, claim: ClaimPlace, verdict_id: str, thread: int | None = None
) -> Published | None:
    """What a try wrote about a verdict whose end nobody entered, as the answer was lost, say; None if nothing.

    Raises:
        HubAway: try again later.
        NoAccess: the farm's token may not look there.
    """
    with suppress(Missing), told_apart(f"what was published on {claim.model_id}"):
        return OwnThreads(hub, author, claim, verdict_id, thread).written_earlier()
    return None


def take_back(hub: Hub, author: str, claim: ClaimPlace, verdict_id: str, thread: int | None = None) -> None:
    """Close or hide whatever the farm wrote about a verdict, where that is still open: its badge is revoked by now.

    Raises:
        HubAway, NoAccess: as above.
    """
    own = OwnThreads(hub, author, claim, verdict_id, thread)
    with suppress(Missing), told_apart(f"taking back what was published on {claim.model_id}"):
        if claim.pull_request is not None:
            own.hide_comments(claim.pull_request)
        else:
            own.close_opened()
            if thread is not None:
                own.hide_comments(thread)


@dataclass(frozen=True)
class OwnThreads:
    """What the farm's own user wrote about one verdict."""

    hub: Hub
    author: str
    claim: ClaimPlace
    verdict_id: str
    thread: int | None
    """The farm's own discussion in which it may be told, besides what was opened about it."""

    def written_earlier(self) -> Published | None:
        """What stands about this verdict, in whatever way it was written; None if nothing does."""
        claim = self.claim
        if claim.pull_request is not None:
            return self.commented_earlier(self.hub.api.get_discussion_details(claim.model_id, claim.pull_request))
        opened = self.opened_earlier(pull_requests=True) or self.opened_earlier(pull_requests=False)
        thread = self.thread
        if opened is not None or thread is None:
            return opened
        with suppress(Missing), told_apart(f"discussion {thread} of {claim.model_id}"):
            return self.commented_earlier(self.hub.api.get_discussion_details(claim.model_id, thread))
        return None

    def close_opened(self) -> None:
        """Close the pull requests and discussions that were opened about this verdict."""
        for pull_requests in (True, False):
            for each in self._opened(pull_requests=pull_requests):
                if each.status in STILL_OPEN:
                    self._close(each.num, REVOKED)

    def hide_comments(self, number: int) -> None:
        """Hide what was said about this verdict on the pull request that makes the claim, or in another thread."""
        model_id = self.claim.model_id
        for comment_id in self.comments_in(self.hub.api.get_discussion_details(model_id, number)):
            self.hub.api.hide_discussion_comment(model_id, number, comment_id)

    def commented_earlier(self, found: DiscussionWithDetails) -> Published | None:
        """What was said of this verdict in a thread; None if nothing was."""
        if not self.comments_in(found):
            return None
        return Published("already", "commented earlier", found.num, self.url(found.num))

    def opened_earlier(self, *, pull_requests: bool) -> Published | None:
        """What was opened about this verdict; None if nothing was. All but the first are closed."""
        found = self._opened(pull_requests=pull_requests)
        if not found:
            return None
        first, *later = sorted(found, key=lambda each: each.num)
        for double in later:
            if double.status in STILL_OPEN:
                self._close(double.num, TWICE)
        return Published("already", f"opened earlier, and {first.status} now", first.num, self.url(first.num))

    def _close(self, number: int, why: str) -> None:
        model_id = self.claim.model_id
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
            self.claim.model_id,
            author=self.author,
            discussion_type="pull_request" if pull_requests else "discussion",
        )
        mark = title_mark(self.verdict_id)
        return [
            each
            for each in islice(listed, MAX_OWN_DISCUSSIONS)
            if each.author == self.author
            and (each.title.endswith(mark) or TITLE_MARK not in each.title)
            and self._began_with_it(each.num)
        ]

    def _began_with_it(self, number: int) -> bool:
        model_id = self.claim.model_id
        try:
            with told_apart(f"discussion {number} of {model_id}"):
                found = self.hub.api.get_discussion_details(model_id, number)
        except Missing as error:
            # It was listed a moment ago, and perhaps just opened: not all of the Hub's machines know it yet.
            raise HubAway(str(error)) from error
        own = (
            each.content for each in found.events if isinstance(each, DiscussionComment) and each.author == self.author
        )
        return is_marked(next(own, ""), body_mark(self.verdict_id))

    def comments_in(self, found: DiscussionWithDetails) -> list[str]:
        """Ids of what was said of this verdict in a thread, oldest first."""
        return own_comments(found, self.author, self.verdict_id)

    def url(self, number: int) -> str:
        """Of a thread in the model's repo."""
        return f"{self.hub.endpoint}/{self.claim.model_id}/discussions/{number}"


def own_comments(found: DiscussionWithDetails, author: str, verdict_id: str) -> list[str]:
    """Ids of an author's comments about a verdict, oldest first."""
    mark = body_mark(verdict_id)
    return [
        event.id
        for event in found.events
        if isinstance(event, DiscussionComment) and event.author == author and is_marked(event.content, mark)
    ]
