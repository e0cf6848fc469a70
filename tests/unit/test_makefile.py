"""Which build of the engine `make` installs, and where it makes the environment anew. Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the environment is made by, and an environment without anything in it."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(PROJECT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    return tmp_path


def make(checkout: Path, *arguments: str, uv: str = "false") -> subprocess.CompletedProcess[str]:
    command = ["make", "setup", f"UV={uv}", "PYTHON=false", *arguments]
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )


@pytest.mark.parametrize("there", ["cpu", "gpu"])
def test_the_engine_that_is_there_is_the_one_that_is_wanted(checkout: Path, there: str) -> None:
    assert "with the cpu engine" in make(checkout, "--dry-run").stdout
    (checkout / ".venv" / f".ready-{there}").touch()
    assert "pip install" not in make(checkout, "--dry-run").stdout
    # What it wants has changed since.
    os.utime(checkout / ".venv" / f".ready-{there}", (0, 0))
    assert f"with the {there} engine" in make(checkout, "--dry-run").stdout


@pytest.mark.parametrize(("there", "wanted"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_no_engine_is_installed_over_the_other(checkout: Path, there: str, wanted: str) -> None:
    (checkout / ".venv" / f".ready-{there}").touch()
    refused = make(checkout, f"ENGINE={wanted}")
    assert refused.returncode != 0
    assert f".venv has the {there} engine" in refused.stderr
    assert "delete .venv first" in refused.stderr
    assert "setting up" not in refused.stdout


@pytest.mark.parametrize(
    ("has_pip", "uv", "is_made"), [(False, "not-there", True), (True, "not-there", False), (False, "true", False)]
)
def test_an_environment_that_nothing_can_be_installed_into_is_made_again(
    checkout: Path, has_pip: bool, uv: str, is_made: bool
) -> None:
    # As Debian's venv leaves it without ensurepip, or as `uv venv` makes one.
    (checkout / ".venv" / "bin").mkdir()
    for name in ("python", "pip") if has_pip else ("python",):
        (checkout / ".venv" / "bin" / name).symlink_to("/usr/bin/true")
    (checkout / "venv").write_text("#!/bin/sh\necho asked: $*\n")
    (checkout / "venv").chmod(0o755)
    assert ("asked: -m venv .venv" in make(checkout, "PYTHON=./venv", uv=uv).stdout) is is_made
