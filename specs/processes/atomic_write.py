"""Atomic writes of the small files by which processes tell one another something."""

from __future__ import annotations

from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a file that whoever reads it finds whole, or as it was before. One process at a time writes it."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)
