"""Puts the dashboard into the API's app."""

from __future__ import annotations

from fastapi import FastAPI

from scheduler.dashboard import claims, farm, proof, scores, signing_in, viewer
from scheduler.dashboard.static_files import OurFiles


def install(app: FastAPI) -> None:
    """Serve the pages at `/`, their files, and Inspect's log viewer."""
    for part in (farm, claims, scores, proof, viewer, signing_in):
        app.include_router(part.router)
    app.mount("/static", OurFiles(), name="static")
