"""The demo as a newcomer runs it: real Redis, Hub, farm, vLLM and model, from submitted results to signed badges."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo.claims import demo_claims

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PATIENCE_SECONDS = 1700


def test_every_claim_ends_as_expected_and_the_badges_hold(small_model: Path, tmp_path: Path) -> None:
    command = "from deploy.cli.main import main; main()"
    options = ["demo", "--var", str(tmp_path / "demo"), "--model", str(small_model)]
    demo = subprocess.run(
        [sys.executable, "-c", command, *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    table = demo.stdout[demo.stdout.index("What became of the claims") :]
    for claim in demo_claims():
        row = next(line for line in table.splitlines() if claim.label in line)
        assert claim.ends in row, claim.label
    verified = re.findall(r"(\d+\.\d+) % ± (\d+\.\d+) .*150 of 150.*verified", table)
    assert len(verified) == 2
    assert table.count("a copy with a better score is refused") == 2
    assert "all as expected" in table
    # One engine served both benchmarks, and the second model had one of its own.
    assert "Traceback" not in demo.stderr
