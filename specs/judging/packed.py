"""A compact encoding of proportions, one for every sample of a benchmark, small enough to travel in a message."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Annotated, Any

from pydantic import PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from specs.measurement import MAX_POPULATION, Proportion

STEPS = 10_000
"""Values are kept to a ten-thousandth, so that both ends of a message hold the same ones to the last bit."""

MAX_VALUES = MAX_POPULATION

_BYTES = 2
"""Of one value: a little-endian unsigned integer. Without NumPy, which those who only pass messages on do not need."""


def _packed_or_rounded(value: object, check: ValidatorFunctionWrapHandler) -> Any:
    # What was packed was rounded before.
    if isinstance(value, str):
        return check(_unpack(value))
    return tuple([round(each * STEPS) / STEPS for each in check(value)])


def _pack(values: tuple[float, ...]) -> str:
    steps = struct.pack(f"<{len(values)}H", *[round(value * STEPS) for value in values])
    return base64.b64encode(zlib.compress(steps, 9)).decode("ascii")


def _unpack(value: str) -> tuple[float, ...]:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(base64.b64decode(value, validate=True), MAX_VALUES * _BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not packed proportions: {error}") from error
    if not unpacking.eof or len(content) % _BYTES:
        raise ValueError(f"not packed proportions, or more than {MAX_VALUES}")
    return tuple([step / STEPS for step in struct.unpack(f"<{len(content) // _BYTES}H", content)])


PackedProportions = Annotated[
    tuple[Proportion, ...],
    WrapValidator(_packed_or_rounded),
    PlainSerializer(_pack, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Ten-thousandths as little-endian 16-bit integers, compressed with zlib (RFC 1950).",
        }
    ),
]
"""Proportions in a fixed order; in JSON one compressed text."""
