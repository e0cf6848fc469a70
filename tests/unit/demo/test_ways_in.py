"""What a demo that stays up says to other terminals."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from deploy.cli.control_plane import settings_of
from deploy.cli.options import DEFAULT_VAR, STATE_FILE, VAR_ENV, default_api
from deploy.demo.run import ways_in
from deploy.farm.farm import RunningFarm
from deploy.farm.processes import Processes


def test_a_command_in_another_terminal_finds_the_farm_its_api_and_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with a space" / "farm"
    folder.mkdir(parents=True)
    farm = RunningFarm("http://127.0.0.1:4711", "http://127.0.0.1:4712", Processes(tmp_path, tmp_path / "logs"))
    (folder / STATE_FILE).write_text(json.dumps({"api": farm.api_url}))
    tried = shlex.split(ways_in(farm, folder)[-1])
    name, _, value = tried[1].partition("=")
    assert (tried[0], name, tried[-1]) == ("try", VAR_ENV, "claims")
    monkeypatch.chdir(tmp_path)
    assert default_api() != farm.api_url
    monkeypatch.setenv(name, value)
    assert default_api() == farm.api_url
    assert settings_of(Path(value)).database_url == f"sqlite:///{folder}/reprofarm.db"
    assert settings_of(DEFAULT_VAR).database_url != f"sqlite:///{folder}/reprofarm.db"
