"""A farm whose every setting holds a secret, through failures and successes: none of them is in what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.bench.postgres import PostgresServer
from deploy.cli.main import app
from deploy.farm import redis
from deploy.farm.processes import Process, Processes
from tests.support.databases import create
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import running_hub
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from workers.processes.guarded import clean_environment

pytest.importorskip("psutil", reason="workers need the extra `run`")

COMMAND = [sys.executable, "-c", "from deploy.cli.main import main; main()"]

SECRETS = {
    "HUB_TOKEN": "hf_writeSecretToken4711",
    "WORKER_HUB_TOKEN": "hf_readSecretToken4712",
    "JUDGE_KEY": "sk-judgeSecretKey4713",
    "DATABASE": "databaseSecret4714",
    "PROXY": "proxySecret4715",
    "HUB": "hubSecret4716",
}


def written_in(folder: Path) -> dict[Path, bytes]:
    """All that the farm wrote, but for the configuration of Redis, which only its owner reads."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "redis.conf"}


def test_no_secret_is_in_anything_that_a_farm_says(tmp_path: Path, postgres: PostgresServer) -> None:
    folder, brokers = tmp_path / "var", Processes(tmp_path / "redis", tmp_path / "redis-logs")
    log = tmp_path / "up.log"
    with running_hub(tmp_path / "hub") as served:
        add_benchmark(served.local, "acme/bench")
        submit(served.local, add_model(served.local, "tiny/model"), entry("acme/bench", 50))
        create(postgres, "farm_with_secrets")
        broker = redis.start_redis(brokers, tmp_path / "redis")
        secrets = {**SECRETS, "BROKER": broker.split(":")[2].partition("@")[0]}
        address = served.url.removeprefix("http://")
        settings = clean_environment(
            REPROFARM_DATABASE_URL=f"postgresql+psycopg://farm:{secrets['DATABASE']}@/farm_with_secrets"
            f"?host={postgres.folder}",
            REPROFARM_BROKER_URL=broker,
            REPROFARM_HUB_TOKEN=secrets["HUB_TOKEN"],
            REPROFARM_HUB_ENDPOINT=f"http://farm:{secrets['HUB']}@{address}",
            REPROFARM_WORKER_HUB_TOKEN=secrets["WORKER_HUB_TOKEN"],
            REPROFARM_JUDGE_KEY=secrets["JUDGE_KEY"],
            HTTPS_PROXY=f"http://me:{secrets['PROXY']}@127.0.0.1:9",
            # Nothing is run here, and what engines and runs are forked from imports for half a minute of a core.
            REPROFARM_WORKER_PREPARE="false",
        )
        options = ["up", "--var", str(folder), "--api-port", "0"]
        with log.open("ab") as output:
            farm = subprocess.Popen([*COMMAND, *options], env=settings, stdout=output, stderr=output)
        try:
            until(
                lambda: (folder / "farm.json").exists() or farm.poll() is not None,
                log.read_text,
                PROCESS_PATIENCE_SECONDS,
            )
            assert farm.poll() is None, log.read_text()

            def says(process: str) -> str:
                return (folder / "logs" / f"{process}.log").read_text()

            until(lambda: "ready" in says("worker-cpu"), log.read_text, PROCESS_PATIENCE_SECONDS)
            # The broker dies: each process that speaks to it says so, and finds it again.
            brokers.stop(redis.NAME)
            until(
                lambda: "rror" in says("control") + says("beat") and "rror" in says("worker-cpu"),
                log.read_text,
                PROCESS_PATIENCE_SECONDS,
            )
            configuration = str(tmp_path / "redis" / "redis.conf")
            brokers.start(Process(redis.NAME, [str(redis.find_server()), configuration], clean_environment()))
            doctor = subprocess.run(
                [*COMMAND, "doctor", "--for", "control"], env=settings, capture_output=True, text=True, check=False
            )
        finally:
            farm.terminate()
            farm.wait(PROCESS_PATIENCE_SECONDS)
            brokers.stop()
    said = {**written_in(folder), log: log.read_bytes(), Path("doctor"): (doctor.stdout + doctor.stderr).encode()}
    assert len(doctor.stdout.splitlines()) > 5
    found = [(what, path.name) for what, secret in secrets.items() for path in said if secret.encode() in said[path]]
    assert found == []


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
