"""What goes wrong between the farm and the Hub, told apart by who must act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from specs.errors import HubAway, HubBusy, NoAccess, SubmissionError
from specs.processes.bounded_answers import OTHER_SHAPES, one_question
from specs.processes.hub_client_hooks import refuses_token, seconds_asked
from specs.text import clean


class Missing(SubmissionError):  # noqa: N818 - a condition, not a mistake
    """The Hub has no such repo, revision or file."""


class Gone(Missing):
    """The Hub has no such repo or revision, by its own error code: that says nothing of the file that was asked for."""


class Moved(Missing):
    """The Hub has that repo under another id: it was renamed or handed over, or the id was written in other case."""

    def __init__(self, repo_id: str, now_at: str) -> None:
        super().__init__(f"{repo_id} is {now_at} on the Hub")
        self.now_at = now_at


class TokenRefused(NoAccess):
    """The Hub does not know the farm's token (any more): it answers nothing that is asked with it."""


def raise_for_status(answer: httpx2.Response, url: str) -> None:
    """Raise what an answer that is no success means, by who must act."""
    if answer.is_success:
        return
    code = answer.headers.get("x-error-code", "")
    if answer.status_code == httpx2.codes.NOT_FOUND and code in ("RepoNotFound", "RevisionNotFound"):
        raise Gone(f"the Hub has no {url}")
    if answer.status_code == httpx2.codes.NOT_FOUND and is_of_the_hub(answer):
        raise Missing(f"the Hub has no {url}")
    if code != "GatedRepo" and refuses_token(answer):
        raise TokenRefused(f"the Hub refuses the farm's token: {url}", url)
    if code == "GatedRepo" or answer.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        raise NoAccess(f"the Hub refuses {url}", url)
    raise _away(f"the Hub answered {answer.status_code} to {url}", answer)


@contextmanager
def told_apart(what: str) -> Iterator[None]:
    """Turn the client's errors into ours, by who must act. What is asked within the block is one question."""
    try:
        with one_question():
            yield
    except GatedRepoError as error:
        raise NoAccess(f"{what}: gated, and the farm's token has not accepted the terms", what) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        if error.response is not None and refuses_token(error.response):
            raise TokenRefused(f"{what}: the Hub does not know the farm's token: {error}", what) from error
        raise Gone(f"{what}: not on the Hub") from error
    except (EntryNotFoundError, HFValidationError) as error:
        raise Missing(f"{what}: not on the Hub") from error
    except HfHubHTTPError as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if status == httpx2.codes.NOT_FOUND and is_of_the_hub(response):
            raise Missing(f"{what}: not on the Hub") from error
        if response is not None and refuses_token(response):
            raise TokenRefused(f"{what}: the Hub refuses the farm's token: {error}", what) from error
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            raise NoAccess(f"{what}: the Hub refuses the farm's token: {error}", what) from error
        raise _away(f"{what}: {error}", response) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, *OTHER_SHAPES) as error:
        # No answer, or one that is no JSON or lacks what the client expects: a proxy's error page, say.
        raise HubAway(f"{what}: {type(error).__name__}: {clean(str(error), 300)}") from error


def is_of_the_hub(answer: Any) -> bool:  # httpx2.Response, or None
    """Whether a 404 is the Hub's own: it has an error code, or is JSON. Pages are of what stands before the Hub."""
    headers = answer.headers if answer is not None else {}
    return "x-error-code" in headers or "json" in headers.get("content-type", "")


def _away(message: str, answer: Any) -> HubAway:  # the same
    if answer is None:
        return HubAway(message)
    kind = HubBusy if answer.status_code == httpx2.codes.TOO_MANY_REQUESTS else HubAway
    return kind(message, seconds_asked(answer.headers))
