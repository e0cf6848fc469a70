"""One farm's API over HTTP: requests with a token, answers as their models, refusals as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import httpx
from pydantic import ValidationError

from deploy.client.errors import ApiError
from specs.api_v1 import Page, Problem, View

REQUEST_SECONDS = 30.0

Answer = TypeVar("Answer", bound=View)
Item = TypeVar("Item", bound=View)


class Connection:
    """The API at one base URL. Every method raises `ApiError` where the farm cannot answer, or refuses."""

    def __init__(self, api: str, token: str | None = None) -> None:
        """`token` is one that the farm issued (`reprofarm tokens new`); None asks as anybody may."""
        self.api = api.rstrip("/")
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        try:
            self._http = httpx.Client(timeout=REQUEST_SECONDS, headers=headers)
        except (UnicodeEncodeError, ValueError) as error:
            # Not the library's words: they hold the token.
            raise ApiError("the token is not one that a farm issues: those are plain ASCII") from error

    def close(self) -> None:
        """Let go of the network."""
        self._http.close()

    def get(self, path: str, form: type[Answer], asked: Mapping[str, str | None] | None = None) -> Answer:
        """What is at a path."""
        return self._read(self._ask("GET", path, params=_given(asked or {})), form)

    def post(self, path: str, form: type[Answer], body: Mapping[str, object]) -> Answer:
        """What comes of asking for something to be done."""
        return self._read(self._ask("POST", path, json=dict(body)), form)

    def delete(self, path: str) -> None:
        """Have something removed."""
        self._ask("DELETE", path)

    def items(
        self, path: str, form: type[Page[Item]], asked: Mapping[str, str | None], cursor_name: str = "cursor"
    ) -> Iterator[Item]:
        """All that a list holds, a request for each part of it. `cursor_name` is the parameter that takes `next`."""
        cursor = asked.get(cursor_name)
        while True:
            page = self.get(path, form, {**asked, cursor_name: cursor})
            yield from page.items
            if page.next is None:
                return
            cursor = page.next

    def _ask(self, method: str, path: str, **options: object) -> httpx.Response:
        url = self.api + path
        with _explained(self.api):
            answer = self._http.request(method, url, **options)  # type: ignore[arg-type]  # httpx's own options
        if not answer.is_success:
            raise _refusal(answer, url)
        return answer

    def _read(self, answer: httpx.Response, form: type[Answer]) -> Answer:
        try:
            return form.model_validate_json(answer.content)
        except ValidationError as error:
            raise ApiError(f"{answer.url} answers, but not as a reprofarm API v1: {error}") from error


def _given(asked: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value}


def _refusal(answer: httpx.Response, url: str) -> ApiError:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        return ApiError(f"{url} answers {answer.status_code}, and does not look like a reprofarm API")
    return ApiError("; ".join((problem.detail, *problem.errors)), problem)


@contextmanager
def _explained(api: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ApiError(f"{api!r} is not the URL of an API: {error}") from error
    except httpx.TimeoutException as error:
        raise ApiError(f"the farm at {api} did not answer within {REQUEST_SECONDS:g} s") from error
    except httpx.HTTPError as error:
        raise ApiError(
            f"no farm answers at {api} ({error}). Start one with `reprofarm up`,"
            " or name another with --api or REPROFARM_API"
        ) from error
