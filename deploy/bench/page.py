"""Puts measured figures into a page of the docs, between marks, so that no figure there is typed by hand."""

from __future__ import annotations

from pathlib import Path


def put_into(page: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of that name.

    Raises:
        ValueError: the page does not have them.
    """
    begin, end = f"<!-- {name}: written by command -->", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} has no place for {name}: {begin} … {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
