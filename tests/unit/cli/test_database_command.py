"""`reprofarm database` works on the farm's database, and makes none to have something to work on."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from scheduler.database.session import Database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["database", *arguments], env={"REPROFARM_DATABASE_URL": None, "COLUMNS": "200"})


@pytest.mark.parametrize("command", [("backup", "copy.db"), ("downgrade", "base")])
def test_where_no_farm_is_nothing_is_backed_up_or_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command)
    assert result.exit_code == 3
    assert f"there is no farm's database at {tmp_path}/var/reprofarm.db; say with --var or" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_farm_in_another_folder_is_migrated_and_backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farm").mkdir()
    assert run("upgrade", "--var", "farm").exit_code == 0
    assert run("backup", "copy.db", "--var", "farm").exit_code == 0
    copy = Database(f"sqlite:///{tmp_path}/copy.db")
    with copy.engine.connect() as connection:
        assert copy.engine.dialect.has_table(connection, "claim")
    copy.engine.dispose()


def test_tables_that_a_later_version_migrated_are_left_as_they_are_where_that_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farm").mkdir()
    assert run("upgrade", "--var", "farm", "--newer-is-fine").exit_code == 0
    farm = Database(f"sqlite:///{tmp_path}/farm/reprofarm.db")
    with farm.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused = run("upgrade", "--var", "farm")
    assert refused.exit_code == 3
    assert "A database that a later version migrated needs that version" in refused.stderr
    left = run("upgrade", "--var", "farm", "--newer-is-fine")
    assert left.exit_code == 0
    assert "the database is at a later version's migration 9999, this version needs" in left.stdout + left.stderr
    with farm.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert run("upgrade", "--var", "farm", "--newer-is-fine").exit_code == 3
    farm.engine.dispose()
