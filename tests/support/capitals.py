"""A small benchmark on which a small model scores well above zero."""

from __future__ import annotations

from pathlib import Path

from tests.support.small_repos import write_dataset

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Hungary": "Budapest",
    "Poland": "Warsaw",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Ireland": "Dublin",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Turkey": "Ankara",
}

SPEC = {
    "name": "Capitals",
    "description": "Capitals of countries.",
    "evaluation_framework": "inspect-ai",
    "tasks": [
        {
            "id": "capitals",
            "config": "default",
            "split": "test",
            "field_spec": {"input": "question", "target": "answer"},
            "solvers": [{"name": "generate"}],
            "scorers": [{"name": "includes"}],
        }
    ],
}


def capitals_dataset(folder: Path, count: int | None = None) -> Path:
    """Its snapshot, of the first so many countries."""
    asked = list(CAPITALS.items())[:count]
    rows = [{"question": f"What is the capital of {country}?", "answer": capital} for country, capital in asked]
    return write_dataset(folder, rows, SPEC)
