"""The page on which anybody checks a badge's token, in the browser, with the public keys alone."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from scheduler.api.dependencies import TheSource
from scheduler.dashboard.pages import PageRoute, render
from specs.attestation import ALGORITHM, MAX_TOKEN_CHARS, TYPE

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/verify")
def verify_page(request: Request, source: TheSource) -> Response:
    """A form that sends nothing: the check runs in the page."""
    return render(
        request, "verify.html", issuer=source.settings.public_url, algorithm=ALGORITHM, kind=TYPE, most=MAX_TOKEN_CHARS
    )
