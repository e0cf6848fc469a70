"""What the images set for what runs in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workers.processes.guarded import clean_environment

DOCKERFILE = Path(__file__).parents[2] / "deploy" / "images" / "Dockerfile"


def test_engines_look_for_the_driver_where_gke_mounts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = DOCKERFILE.read_text().rpartition(" AS worker-gpu\n")[2]
    variables = dict(
        each.split("=", 1) for line in re.findall(r"^ENV (.*)$", stage, re.MULTILINE) for each in line.split()
    )
    for name, folder in (("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64"), ("PATH", "/usr/local/nvidia/bin")):
        monkeypatch.setenv(name, variables[name])
        assert folder in clean_environment()[name].split(":")
