from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from specs.judging.packed import MAX_VALUES
from specs.judging.stopping_rule import Predictor


@given(st.lists(st.floats(0, 1), max_size=300))
def test_both_ends_of_a_message_hold_the_same_values(values: list[float]) -> None:
    sent = Predictor(values=tuple(values), slope=0.5)
    received = Predictor.model_validate_json(sent.model_dump_json())
    assert received == sent
    assert received.values == pytest.approx(values, abs=5e-5)


def test_right_and_wrong_answers_of_a_whole_benchmark_take_few_bytes() -> None:
    values = tuple(float(place % 7 in (0, 3)) for place in range(12_032))
    assert len(Predictor(values=values, slope=1.0).model_dump_json()) < 4000


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"odd")).decode(),
        base64.b64encode(zlib.compress(b"\xff\xff")).decode(),
        base64.b64encode(zlib.compress(bytes(2 * MAX_VALUES + 2))).decode(),
        base64.b64encode(zlib.compress(bytes(10))[:-3]).decode(),
    ],
)
def test_what_is_not_packed_proportions_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Predictor.model_validate_json(f'{{"values": "{text}", "slope": 1.0}}')
