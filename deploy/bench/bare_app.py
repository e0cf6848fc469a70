"""What the API is compared with: the least that FastAPI can answer."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/bare")
async def bare() -> dict[str, str]:
    """A trivial JSON object."""
    return {"status": "ok"}
