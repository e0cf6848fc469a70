"""What a demo that stays up says to other terminals."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.control_plane import settings_of
from deploy.cli.main import app
from deploy.cli.options import DEFAULT_VAR, STATE_FILE, VAR_ENV
from deploy.demo.run import ways_in
from deploy.farm.farm import RunningFarm
from deploy.farm.processes import Processes
from workers.processes.ports import free_port


def asked_by(*command: str) -> str:
    """What a command says that finds no farm at the address that it asks."""
    return CliRunner().invoke(app, command, env={"REPROFARM_API": None}).stderr


def test_a_command_in_another_terminal_finds_the_farm_its_api_and_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with a space" / "farm"
    folder.mkdir(parents=True)
    api = f"http://127.0.0.1:{free_port()}"
    farm = RunningFarm(api, "http://127.0.0.1:4712", Processes(tmp_path, tmp_path / "logs"))
    (folder / STATE_FILE).write_text(json.dumps({"api": farm.api_url}))
    tried = shlex.split(ways_in(farm, folder)[-1])
    name, _, value = tried[1].partition("=")
    assert (tried[0], name, tried[-1]) == ("try", VAR_ENV, "claims")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    assert f"no farm answers at {api} " in asked_by("claims")
    assert settings_of(Path(value)).database_url == f"sqlite:///{folder}/reprofarm.db"
    assert settings_of(DEFAULT_VAR).database_url != f"sqlite:///{folder}/reprofarm.db"


@pytest.mark.parametrize(
    "command",
    [
        "claims",
        "show abcdef",
        "logs abcdef",
        "reproductions",
        "plan abcdef",
        "workers",
        "pools",
        "noise",
        "policy show",
        "policy explain abcdef",
        "verify o/m o/d --wait",
        "verify-token token",
    ],
)
def test_what_reads_asks_the_farm_that_runs_in_the_folder_that_is_named(tmp_path: Path, command: str) -> None:
    api = f"http://127.0.0.1:{free_port()}"
    (tmp_path / STATE_FILE).write_text(json.dumps({"api": api}))
    assert api in asked_by(*command.split(), "--var", str(tmp_path))
