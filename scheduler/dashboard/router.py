"""Puts the dashboard into the API's app."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI

from scheduler.dashboard import claims, farm, proof, scores, signing_in, viewer
from scheduler.dashboard.refusals import lost, refusal_page
from scheduler.dashboard.static_files import OurFiles

__all__ = ["install", "refusal_page"]


def install(app: FastAPI) -> None:
    """Serve the pages at `/`, their files, and Inspect's log viewer."""
    for part in (farm, claims, scores, proof, viewer, signing_in):
        app.include_router(part.router)
    app.mount("/static", OurFiles(), name="static")
    for status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        app.add_exception_handler(status, lost)
