"""One farm's API over HTTP: requests with a token, answers as their models, refusals as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

import httpx2
from pydantic import ValidationError

from deploy.client.errors import ApiError
from deploy.client.patience import Patience
from specs.api_v1.views import DATABASE_AWAY, MAX_PAGE, NO_TYPE, PROBLEM_TYPE, Page, Problem, View
from specs.validation_errors import fault

REQUEST_SECONDS = 30.0

BY_ADDRESS = "with --api or REPROFARM_API"
NO_TOKEN = "a token goes into REPROFARM_TOKEN"  # noqa: S105 - what to do without one
WRONG_TOKEN = "REPROFARM_TOKEN holds it, and the farm's operator gives out another"  # noqa: S105 - likewise
PASSES = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
UNKNOWN_ADDRESS = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)

Answer = TypeVar("Answer", bound=View)
Item = TypeVar("Item", bound=View)


class Connection:
    """The API at one base URL. Every method raises `ApiError` where the farm cannot answer, or refuses."""

    def __init__(self, api: str, token: str | None = None, patience: Patience | None = None) -> None:
        """`token` is one that the farm issued (`reprofarm tokens new`); None asks as anybody may.

        With `patience`, what is read is asked for again while the farm is away.
        """
        self._patience = patience
        self.api = api.rstrip("/")
        # Whoever has just changed something wants to see it.
        headers = {"accept": "application/json", "cache-control": "no-cache"}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx2.Client(timeout=REQUEST_SECONDS, headers=headers)
        except (UnicodeEncodeError, ValueError) as error:
            # Not the library's words: they hold the token.
            raise ApiError("the token is not one that a farm issues: those are plain ASCII") from error

    def close(self) -> None:
        """Let go of the network."""
        self._http.close()

    def get(self, path: str, form: type[Answer], asked: Mapping[str, str | None] | None = None) -> Answer:
        """What is at a path."""

        def ask() -> Answer:
            return self._read(self._ask("GET", path, params=_given(asked or {})), form)

        return ask() if self._patience is None else self._patience.until_answered(ask)

    def post(self, path: str, form: type[Answer], body: Mapping[str, object]) -> Answer:
        """What comes of asking for something to be done."""
        return self._read(self._ask("POST", path, json=dict(body)), form)

    def delete(self, path: str) -> None:
        """Have something removed."""
        self._ask("DELETE", path)

    def items(self, path: str, form: type[Page[Item]], asked: Mapping[str, str | None]) -> Iterator[Item]:
        """All that a list holds, a request for each part of it."""
        cursor: str | None = None
        while True:
            page = self.get(path, form, {**asked, "cursor": cursor})
            yield from page.items
            if page.next is None:
                return
            cursor = page.next

    def page(
        self, path: str, form: type[Page[Item]], asked: Mapping[str, str | None], limit: int, cursor: str | None
    ) -> Page[Item]:
        """At most `limit` of a list after a cursor, in as many requests as that takes."""
        items: list[Item] = []
        while True:
            page = self.get(path, form, {**asked, "limit": str(min(limit - len(items), MAX_PAGE)), "cursor": cursor})
            items += page.items
            cursor = page.next
            if cursor is None or len(items) >= limit:
                return form(items=tuple(items), next=cursor)

    def _ask(self, method: str, path: str, **options: object) -> httpx2.Response:
        with _explained(self.api):
            answer = self._http.request(method, self.api + path, **options)  # type: ignore[arg-type]  # httpx2's own options
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    def _read(self, answer: httpx2.Response, form: type[Answer]) -> Answer:
        try:
            return form.model_validate_json(answer.content)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            if found["type"] == "json_invalid":
                raise self._no_farm(answer) from error
            raise ApiError(
                f"the farm at {self.api} and this command are of versions that do not fit together ({fault(found)})."
                " Update the older of the two: the farm's operator the farm, or you this command"
            ) from error

    def _refusal(self, answer: httpx2.Response) -> ApiError:
        try:
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:
            return self._no_farm(answer)
        said = "; ".join((problem.detail, *problem.errors))
        if problem.type == NO_TYPE and answer.status_code in UNKNOWN_ADDRESS:
            # No thing is missing there: this farm does not have the address.
            return ApiError(
                f"the farm at {self.api} has nothing at {answer.url.path}: too much stands behind the host in its"
                " address, or its operator runs a version that is older than this command"
            )
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            said += f"; {WRONG_TOKEN if 'authorization' in self._http.headers else NO_TOKEN}"
        elif answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR or problem.type == PROBLEM_TYPE + DATABASE_AWAY:
            # All others above 500 pass by themselves, or say themselves whose they are.
            said += "; that is for the farm's operator to mend"
        return ApiError(said, problem, passes=answer.status_code in PASSES)

    def _no_farm(self, answer: httpx2.Response) -> ApiError:
        says = f"{self.api} answers {answer.status_code}, and not as a farm does"
        if answer.has_redirect_location:
            return ApiError(f"{says}: it sends on to {answer.headers['location']}. Name the farm itself {BY_ADDRESS}")
        if answer.is_server_error:
            return ApiError(
                f"{says}: what stands before a farm may be up and the farm down, which its operator can see",
                passes=answer.status_code in PASSES,
            )
        return ApiError(f"{says}. Name one {BY_ADDRESS}", passes=answer.status_code in PASSES)


def _given(asked: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value}


@contextmanager
def _explained(api: str) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise ApiError("what is asked for has bytes in it that are no text, and names of the Hub are text") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        if "too long" in str(error):
            raise ApiError("what is asked for is longer than anything that a farm has") from error
        raise ApiError(
            f"{api!r} is not the URL of a farm, as http://127.0.0.1:8000 or https://farm.example is;"
            f" name one {BY_ADDRESS}"
        ) from error
    except httpx2.TimeoutException as error:
        raise ApiError(f"the farm at {api} did not answer within {REQUEST_SECONDS:g} s", passes=True) from error
    except httpx2.HTTPError as error:
        raise ApiError(
            f"no farm answers at {api} ({error}). Start one with `reprofarm up`, name the folder of one that runs with"
            f" --var or REPROFARM_VAR, or another {BY_ADDRESS}",
            passes=True,
        ) from error
