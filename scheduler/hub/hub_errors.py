"""What goes wrong between the farm and the Hub, told apart by who must act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from scheduler.hub.bounded_answers import one_question
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.hub.client_hooks import seconds_asked
from specs.text import clean

_NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a client stumbles over in JSON of other shapes than the Hub's."""


class Missing(SubmissionError):  # noqa: N818 - a condition, not a mistake
    """The Hub has no such repo, revision or file."""


def raise_for_status(answer: httpx.Response, url: str) -> None:
    """Raise what an answer that is no success means, by who must act."""
    if answer.is_success:
        return
    code = answer.headers.get("x-error-code", "")
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise Missing(f"the Hub has no {url}")
    if code == "GatedRepo" or answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise NoAccess(f"the Hub refuses {url}", url)
    raise HubAway(f"the Hub answered {answer.status_code} to {url}", _retry_after(answer))


@contextmanager
def told_apart(what: str) -> Iterator[None]:
    """Turn the client's errors into ours, by who must act. What is asked within the block is one question."""
    try:
        with one_question():
            yield
    except GatedRepoError as error:
        raise NoAccess(f"{what}: gated, and the farm's token has not accepted the terms", what) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, HFValidationError) as error:
        raise Missing(f"{what}: not on the Hub") from error
    except HfHubHTTPError as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if status == httpx.codes.NOT_FOUND:
            raise Missing(f"{what}: not on the Hub") from error
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise NoAccess(f"{what}: the Hub refuses the farm's token: {error}", what) from error
        raise HubAway(f"{what}: {error}", _retry_after(response)) from error
    except (httpx.HTTPError, httpx2.HTTPError, httpx.InvalidURL, httpx2.InvalidURL, *_NO_ANSWER) as error:
        # No answer, or one that is no JSON or lacks what the client expects: a proxy's error page, say.
        # huggingface_hub speaks through httpx2; `_http` is httpx, as in the rest of the farm.
        raise HubAway(f"{what}: {type(error).__name__}: {clean(str(error), 300)}") from error


def _retry_after(answer: Any) -> float | None:  # httpx.Response, httpx2.Response, or None
    return seconds_asked(answer.headers) if answer is not None else None
