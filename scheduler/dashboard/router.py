"""Puts the dashboard into the API's app."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI

from scheduler.dashboard import claims, farm, proof, scores, signing_in, viewer
from scheduler.dashboard.refusals import lost, refusal_page
from scheduler.dashboard.static_files import OurFiles

__all__ = ["PARTS", "install", "refusal_page"]

PARTS = (farm, claims, scores, proof, viewer, signing_in)
"""Modules with a `router` for pages at `/`, and for Inspect's log viewer."""


def install(app: FastAPI) -> None:
    """Serve the pages' files, and show errors as pages."""
    app.mount("/static", OurFiles(), name="static")
    for status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        app.add_exception_handler(status, lost)
