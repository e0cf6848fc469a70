"""A setting that holds a secret and cannot be read: which it is is said, and not what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("REPROFARM_BROKER_URL", "redis://:s3cret/word@127.0.0.1:6379/0"),
        ("REPROFARM_DATABASE_URL", "postgresql+psycopg://farm:s3cret@db:word/farm"),
        ("REPROFARM_REQUEST_SECONDS", "s3cret"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    no_hub = "http://127.0.0.1:9"
    told = CliRunner().invoke(
        app, ["doctor", "--for", "control"], env={"REPROFARM_HUB_ENDPOINT": no_hub, setting: value}
    )
    assert told.exit_code == 3
    assert "s3cret" not in told.output
    assert setting.removeprefix("REPROFARM_").lower() in told.output.lower()
