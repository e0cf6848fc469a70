"""A client of a farm's API: thin, typed, and with errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, TypeVar

import httpx
from pydantic import ValidationError

from specs.api_v1 import (
    MAX_PAGE,
    BadgeView,
    ClaimView,
    EventView,
    Jwks,
    NoiseView,
    Page,
    Problem,
    ReproductionView,
    View,
)
from specs.api_v1_plan import ClaimPlan
from specs.errors import ReprofarmError

DEFAULT_API = "http://127.0.0.1:8000"
STATE_FILE = Path("var/farm.json")
"""Where `reprofarm up` says, as long as it runs, where its API is."""

REQUEST_SECONDS = 30.0

Answer = TypeVar("Answer", bound=View)


def default_api() -> str:
    """The API of the farm that runs in `var` here; else where one usually is."""
    try:
        found = json.loads(STATE_FILE.read_bytes())["api"]
    except (OSError, ValueError, LookupError, TypeError):
        return DEFAULT_API
    return found if isinstance(found, str) else DEFAULT_API


class ApiError(ReprofarmError):
    """The farm did not answer, or answered with an error."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        """What the farm said; None where there was no such answer."""


@dataclass(frozen=True)
class ClaimFilter:
    """Which claims; None does not care."""

    model: str | None = None
    dataset: str | None = None
    task: str | None = None
    state: str | None = None
    outcome: str | None = None
    submitter: str | None = None


class FarmClient:
    """The API at one base URL. Every method raises `ApiError` where the farm cannot answer."""

    def __init__(self, api: str = DEFAULT_API) -> None:
        self.api = api.rstrip("/")
        self._http = httpx.Client(timeout=REQUEST_SECONDS, headers={"accept": "application/json"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def claims(self, wanted: ClaimFilter, limit: int, cursor: str | None = None) -> Page[ClaimView]:
        """Claims, newest first: at most `limit`, in as many requests as that takes."""
        items: list[ClaimView] = []
        while True:
            asked = {**asdict(wanted), "limit": str(min(limit - len(items), MAX_PAGE)), "cursor": cursor}
            page = self._get("/v1/claims", Page[ClaimView], asked)
            items += page.items
            cursor = page.next
            if cursor is None or len(items) >= limit:
                return Page[ClaimView](items=tuple(items), next=cursor)

    def claim(self, claim_id: str) -> ClaimView:
        """One claim, by its id or the start of it."""
        return self._get(f"/v1/claims/{claim_id}", ClaimView)

    def plan(self, claim_id: str, samples: int | None = None) -> ClaimPlan:
        """What judging a claim will cost, on so many samples where that is given."""
        asked = {"samples": None if samples is None else str(samples)}
        return self._get(f"/v1/claims/{claim_id}/plan", ClaimPlan, asked)

    def timeline(self, claim_id: str) -> list[EventView]:
        """All that happened to a claim and to its reproduction, oldest first."""
        events: list[EventView] = []
        cursor: str | None = None
        while True:
            page = self._get(
                f"/v1/claims/{claim_id}/events", Page[EventView], {"limit": str(MAX_PAGE), "after": cursor}
            )
            events += page.items
            cursor = page.next
            if cursor is None:
                return events

    def events(self, after: int | None = None) -> list[EventView]:
        """What happened after the event of that id (from the beginning for None), oldest first; one page of it."""
        asked = {"limit": str(MAX_PAGE), "after": None if after is None else str(after)}
        return list(self._get("/v1/events", Page[EventView], asked).items)

    def noise(self, dataset: str | None = None, task: str | None = None) -> list[NoiseView]:
        """How much honest re-runs differ, by task; all tasks, in as many requests as that takes."""
        items: list[NoiseView] = []
        cursor: str | None = None
        while True:
            page = self._get("/v1/noise", Page[NoiseView], {"dataset": dataset, "task": task, "cursor": cursor})
            items += page.items
            cursor = page.next
            if cursor is None:
                return items

    def jwks(self) -> Jwks:
        """The public keys with which the farm's badges are checked."""
        return self._get("/.well-known/jwks.json", Jwks)

    def badge_of(self, claim_id: str) -> BadgeView:
        """The badge of a verified claim."""
        return self._get(f"/v1/claims/{claim_id}/badge", BadgeView)

    def reproduction(self, reproduction_id: str) -> ReproductionView:
        """One reproduction, by its id or the start of it."""
        return self._get(f"/v1/reproductions/{reproduction_id}", ReproductionView)

    def _get(self, path: str, form: type[Answer], asked: dict[str, str | None] | None = None) -> Answer:
        url = self.api + path
        with _explained(self.api):
            answer = self._http.get(url, params={name: value for name, value in (asked or {}).items() if value})
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer, url)
        try:
            return form.model_validate_json(answer.content)
        except ValidationError as error:
            raise ApiError(f"{url} answers, but not as a reprofarm API v1: {error}") from error


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
