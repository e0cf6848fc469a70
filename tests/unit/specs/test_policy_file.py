"""A policy that cannot hold is refused when it is read, not when its first badge is signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import PolicyError
from specs.policy.rules import read_policy


@pytest.mark.parametrize(
    "text",
    [
        "&",
        "watch: {scan_seconds: .inf}",
        "run: {lease_seconds: .inf}",
        "engine: {concurrency: 1000000000000000000000}",
        "run: {attempts: 9007199254740993}",
    ],
)
def test_what_is_no_yaml_and_numbers_that_no_badge_can_name_are_the_operators_to_change(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml"):
        read_policy(file)
