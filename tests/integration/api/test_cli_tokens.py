from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from scheduler.database.tables import SignedIn
from tests.support.api import running_api
from tests.support.callers import signed_in


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["tokens", *words])


def test_an_operator_gives_out_lists_and_revokes_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_api(tmp_path) as api:
        monkeypatch.setenv("REPROFARM_DATABASE_URL", api.settings.database_url)
        made = run("new", "ci", "--scope", "request", "--namespace", "acme", "--days", "7")
        assert made.exit_code == 0, made.output
        secret = made.stdout.strip()
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx2.get(api.url + "/v1/me", headers=headers).json()["namespaces"] == ["acme"]
        listed = run("list").output
        assert "ci" in listed
        assert "acme" in listed
        assert secret not in listed
        (shown,) = json.loads(run("list", "--json").stdout)["items"]
        assert (shown["name"], shown["scopes"]) == ("ci", ["request"])
        assert shown["created_by"].startswith("operator:")
        assert run("revoke", "ci").exit_code == 0
        assert httpx2.get(api.url + "/v1/me", headers=headers).status_code == 401
        assert "revoked by operator:" in run("list").output
        assert json.loads(run("new", "other", "--json").stdout)["token"].startswith("rf_")


@pytest.mark.parametrize(
    ("asked", "where"), [((), "everywhere"), (("--namespace", "tiny", "--namespace", "acme"), "in acme, tiny")]
)
def test_where_a_token_acts_is_said_to_whoever_makes_it_and_in_the_record(
    asked: tuple[str, ...], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_api(tmp_path) as api:
        monkeypatch.setenv("REPROFARM_DATABASE_URL", api.settings.database_url)
        assert f"ci: request, {where}, until " in run("new", "ci", "--scope", "request", *asked).stderr
        (event,) = api.json("/v1/events?subject=token")["items"]
        assert f"ci: request, {where}, until " in event["why"]


def test_an_operator_ends_somebodys_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_api(tmp_path) as api:
        monkeypatch.setenv("REPROFARM_DATABASE_URL", api.settings.database_url)
        signed_in(api, "alice")
        assert "1 sessions of alice" in run("sign-out", "alice").output
        with api.rows.database.reading() as session:
            assert session.query(SignedIn).count() == 0


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = run("list", "--var", str(tmp_path))
    assert nowhere.exit_code == 3
    with running_api(tmp_path) as api:
        monkeypatch.setenv("REPROFARM_DATABASE_URL", api.settings.database_url)
        assert run("new", "x", "--days", "0").stderr == "error: days: must be 1 or more\n"
        assert "must be 'read', 'request' or 'operate'" in run("new", "x", "--scope", "all").stderr
        for words in (("new", "No Name"), ("new", "x", "--scope", "all"), ("revoke", "x")):
            answer = run(*words)
            assert answer.exit_code == 3, words
            assert "Traceback" not in answer.output
        assert run("new", "x", "--scope", "operate", "--namespace", "acme").exit_code == 3
