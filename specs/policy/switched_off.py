"""The word `off` in YAML."""

from __future__ import annotations

from pydantic import BeforeValidator


def _is_off(value: object) -> object:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


Off = BeforeValidator(_is_off)
