"""Inputs from outside, made by hypothesis out of good ones, and a budget of time for trying them.

Without `REPROFARM_FUZZ_SECONDS` each property gets a few inputs, always the same ones; with it, as many new ones as fit
into that many seconds for each property.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Input = TypeVar("Input")

TRIED: Counter[str] = Counter()
"""Inputs by the name of their property."""

_FEW, _ROUND = 25, 500

# Numbers, texts and bytes that parsers stumble over.
_ODD_TEXT = ["", "\x00", "\x1b[2J", "\u202e", "\ud800", "\ufeff", "٣", "a" * 5000, "{0.__class__}", "../../x", "NaN"]
_ODD_NUMBERS = [0, -1, 2**31, 2**63, 10**400, 1e308, 5e-324, float("inf"), float("nan"), True]
_ODD_BYTES = [b"\x00", b"\xff\xff\xff\xff", b"PK\x05\x06", b"&a *a", b"!!python/object:x ", b"[" * 200, b"9" * 5000]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(_ODD_TEXT)
    | st.sampled_from(_ODD_NUMBERS)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)


def fuzz(name: str, inputs: st.SearchStrategy[Input], check: Callable[[Input], object]) -> None:
    """Try inputs on `check`, which raises where one of them does harm."""
    budget = float(os.environ.get("REPROFARM_FUZZ_SECONDS", "0"))
    began = time.monotonic()
    rounds = 0
    while rounds == 0 or time.monotonic() - began < budget:

        @settings(
            max_examples=_ROUND if budget else _FEW,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        )
        @seed(time.time_ns() if budget else 0)
        @given(inputs)
        def once(value: Input) -> None:
            TRIED[name] += 1
            check(value)

        once()
        rounds += 1


@st.composite
def mutated_bytes(draw: st.DrawFn, *originals: bytes) -> bytes:
    """One of the originals after a few cuts, doublings and insertions."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        to = min(len(content), at + draw(st.integers(0, 40)))
        inserted = draw(st.binary(max_size=8) | st.sampled_from(_ODD_BYTES) | st.just(bytes(content[at:to]) * 2))
        content[at:to] = inserted
    return bytes(content)


@st.composite
def mutated_json(draw: st.DrawFn, *originals: Any) -> Any:
    """One of the originals, a few values or keys of which were replaced, left out or added; as JSON can hold it."""
    value = json.loads(json.dumps(draw(st.sampled_from(originals))))
    for _ in range(draw(st.integers(1, 4))):
        holder, key = draw(st.sampled_from(list(_places({"": value}))))
        what = draw(st.integers(0, 4))
        numbers = [place for place in _places({"": value}) if isinstance(place[0][place[1]], int | float)]
        if what == 0 and isinstance(holder, dict) and key != "":
            del holder[key]
        elif what == 1 and isinstance(holder, dict) and key != "":
            holder[draw(st.text(max_size=12))] = draw(JSON)
        elif what == 2 and numbers:
            # What is right in all else goes furthest.
            holder, key = draw(st.sampled_from(numbers))
            holder[key] = draw(st.sampled_from(_ODD_NUMBERS) | st.integers() | st.floats())
        elif key == "":
            return draw(JSON)
        else:
            holder[key] = draw(JSON)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in nested values, as what holds it and its key there."""
    if isinstance(value, dict):
        return [place for key, inner in value.items() for place in [(value, key), *_places(inner)]]
    if isinstance(value, list):
        return [place for key, inner in enumerate(value) for place in [(value, key), *_places(inner)]]
    return []
