"""Errors as people and programs read them: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.badges.revoking import NoSuchBadge, SeveralBadges
from scheduler.webhooks.addresses import Unsendable
from scheduler.webhooks.registry import TooMany
from specs.api_v1.views import DATABASE_AWAY, NO_TYPE, PROBLEM_TYPE, Problem
from specs.errors import AccessError, EvidenceAway, HubAway, InterventionError, ReprofarmError, SignInError
from specs.text import clean
from specs.validation_errors import fault

MAX_DETAIL_CHARS = 1000
MEDIA_TYPE = "application/problem+json"

DESCRIBED: dict[int | str, dict[str, object]] = {
    "default": {
        "description": "What is wrong, and with what.",
        "model": Problem,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""For the OpenAPI document: what every route answers where it cannot do what was asked."""

OF_ITS_CALLER = "of_its_caller"
"""Of a request's state: that its refusal depends on who asks, and is told to nobody else."""

OUR_FAULT = "a fault of the farm's own; its log has the particulars"

log = logging.getLogger(__name__)


class NotFound(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """There is no such thing."""


class Ambiguous(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """The start of an id fits several things."""


class NotPlannedYet(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """Nothing can be said yet of what a claim will cost."""


class NothingToRun(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """Nothing will be run for a claim."""


class BadCursor(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """A cursor that no list of this API gave out."""


class NullCharacter(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """A request with a character that no id or name has, and that PostgreSQL takes in no text."""


class Busy(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """As many are served that way as this process takes."""


class TooManyTraces(Busy):
    """Others are told how their run closed in on a claim."""


class TooManyPlans(Busy):
    """Others are told what judging their claim will cost."""


KINDS: dict[type[ReprofarmError], tuple[HTTPStatus, str]] = {
    NotFound: (HTTPStatus.NOT_FOUND, "not-found"),
    NoSuchBadge: (HTTPStatus.NOT_FOUND, "not-found"),
    Ambiguous: (HTTPStatus.CONFLICT, "ambiguous-id"),
    SeveralBadges: (HTTPStatus.CONFLICT, "ambiguous-id"),
    NotPlannedYet: (HTTPStatus.CONFLICT, "not-planned-yet"),
    NothingToRun: (HTTPStatus.CONFLICT, "nothing-to-run"),
    BadCursor: (HTTPStatus.BAD_REQUEST, "bad-cursor"),
    NullCharacter: (HTTPStatus.BAD_REQUEST, "null-character"),
    TooMany: (HTTPStatus.CONFLICT, "too-many-webhooks"),
    Unsendable: (HTTPStatus.UNPROCESSABLE_ENTITY, "webhook-address"),
    Busy: (HTTPStatus.SERVICE_UNAVAILABLE, "too-many-streams"),
    TooManyTraces: (HTTPStatus.SERVICE_UNAVAILABLE, "too-many-traces"),
    TooManyPlans: (HTTPStatus.SERVICE_UNAVAILABLE, "too-many-plans"),
    EvidenceAway: (HTTPStatus.BAD_GATEWAY, "evidence-away"),
    InterventionError: (HTTPStatus.CONFLICT, "not-as-it-stands"),
    AccessError: (HTTPStatus.CONFLICT, "no-such-access"),
    SignInError: (HTTPStatus.BAD_REQUEST, "sign-in"),
    HubAway: (HTTPStatus.BAD_GATEWAY, "hub-away"),
}
"""Status and name of exceptions of a request that was understood; all others are our fault."""

INVALID = "invalid-request"

DATABASE_ERRORS = (DBAPIError, NoConnectionFree)
"""What is raised where the database cannot answer; the last where others keep all connections to it."""


class DatabaseAway(HTTPException):
    """What is said of one of `DATABASE_ERRORS`; the log has which."""

    def __init__(self, error: Exception) -> None:
        log.error("the database cannot answer: %s", error)
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the farm's database does not answer, or is not migrated; /readyz says which",
            {"retry-after": "5"},
        )


def problem(
    status: int,
    detail: str,
    errors: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
    kind: str | None = None,
) -> JSONResponse:
    """An error's answer; of no `kind` is what its status says."""
    body = Problem(
        type=f"{PROBLEM_TYPE}{kind}" if kind else NO_TYPE,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=clean(detail, MAX_DETAIL_CHARS),
        errors=errors,
    )
    return JSONResponse(body.model_dump(mode="json"), status_code=status, media_type=MEDIA_TYPE, headers=headers)


async def refuse_null_character(request: Request) -> None:
    """A dependency of every route.

    Raises:
        NullCharacter: the path or the query has one.
    """
    if "\0" in request.scope["path"] or b"\0" in unquote_to_bytes(request.scope["query_string"]):
        raise NullCharacter("the address has a null character (%00), which is part of no id or name")


def install(app: FastAPI) -> None:
    """Have every error of an app answered as a problem."""
    app.add_exception_handler(ReprofarmError, _ours)
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    for each in DATABASE_ERRORS:
        app.add_exception_handler(each, _database)
    # The framework answers so outside of all middleware. That is for what fails there: no page of another origin can
    # read such an answer, nor has it what the gate adds.
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(AnswersFaults)


class AnswersFaults:
    """Answers for what failed in a way that nobody foresaw, within all middleware that is added later."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what fails when the answer has begun is raised, as nothing else can be said then."""
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            answer = await _unexpected(Request(scope), error)
            await answer(scope, receive, send)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    found = KINDS.get(type(error))  # type: ignore[arg-type]  # looked up by class
    if found is None:
        return await _unexpected(request, error)
    status, kind = found
    if isinstance(error, EvidenceAway) and error.__cause__ is not None:
        log.error("%s", error, exc_info=error.__cause__)
    if not isinstance(error, Busy):
        return problem(status, str(error), kind=kind)
    setattr(request.state, OF_ITS_CALLER, True)
    return problem(status, str(error), headers={"retry-after": "5"}, kind=kind)


async def http_problem(_request: Request, error: Exception) -> JSONResponse:
    """What the framework raises, as a problem."""
    if not isinstance(error, HTTPException):
        raise error
    return problem_of(error)


def problem_of(error: HTTPException) -> JSONResponse:
    """What a request is refused with, as a problem."""
    kind = DATABASE_AWAY if isinstance(error, DatabaseAway) else None
    return problem(error.status_code, str(error.detail), headers=error.headers, kind=kind)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # Without the input: what came in is not echoed.
    errors = tuple(clean(fault(found), MAX_DETAIL_CHARS) for found in error.errors())
    detail = "the request is invalid, so whoever sends it must change it"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors, kind=INVALID)


async def _database(_request: Request, error: Exception) -> JSONResponse:
    return problem_of(DatabaseAway(error))


async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, OUR_FAULT)
