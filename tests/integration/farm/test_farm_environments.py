"""What each process of the farm is told. A worker runs strangers' models, so it is told the least."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.farm import own_policy
from deploy.farm.environments import Plan, hand_back_seconds, settings_in, shared_out
from deploy.farm.own_policy import own_pools, write_policy
from specs.errors import PolicyError
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy, read_policy
from tests.support.fake_nvml import pynvml
from workers.engines import devices
from workers.engines.cpu_executor import cpu_variables
from workers.engines.devices import GIB, Machine

PROJECT = Path(__file__).parents[3]
BROKER = "redis://:secret@127.0.0.1:1/0"
POOL = PoolRules(name="small", device="cpu", gpus=0, memory_gib=80)

OPERATOR = {
    "REPROFARM_DATABASE_URL": "postgresql+psycopg://farm@db/farm",
    "REPROFARM_HUB_TOKEN": "hf_write",
    "REPROFARM_SIGNING_KEY": "/keys/mine.pem",
    "REPROFARM_WORKER_HUB_TOKEN": "hf_read",
    "REPROFARM_WORKER_POOL": "another",
    "REPROFARM_JUDGE_KEY": "sk_judge",
    "SOMETHING_ELSE": "1",
}


def plan(tmp_path: Path, **operator: str) -> Plan:
    return Plan(folder=tmp_path, api_port=8123, hub_endpoint="http://hub.test", operator=operator)


def test_a_worker_has_no_database_no_key_and_no_token_that_writes(tmp_path: Path) -> None:
    farm = plan(tmp_path, **OPERATOR)
    worker = farm.environment_of_worker(POOL, farm.environment_of_control(BROKER))
    told = {name: value for name, value in worker.items() if name.startswith("REPROFARM_")}
    assert told == {
        "REPROFARM_WORKER_BROKER_URL": BROKER,
        "REPROFARM_WORKER_EVIDENCE_URL": f"file://{tmp_path}/evidence",
        "REPROFARM_WORKER_CACHE_FOLDER": f"{tmp_path}/cache",
        "REPROFARM_WORKER_STATE_FOLDER": f"{tmp_path}/workers/small",
        "REPROFARM_WORKER_HUB_ENDPOINT": "http://hub.test",
        "REPROFARM_WORKER_HUB_TOKEN": "hf_read",
        "REPROFARM_WORKER_POOL": "small",
        "REPROFARM_WORKER_GPUS": "0",
        "REPROFARM_JUDGE_KEY": "sk_judge",
    }
    assert "SOMETHING_ELSE" not in worker


@pytest.mark.parametrize(
    ("visible", "shares"),
    [
        (None, {"big": "0,1", "one": "2"}),
        ("4,5,6,7", {"big": "4,5", "one": "6"}),
        ("GPU-a,GPU-b,GPU-c", {"big": "GPU-a,GPU-b", "one": "GPU-c"}),
        # Too few: its worker says that it has none.
        ("0,1", {"big": "0,1", "one": ""}),
    ],
)
def test_pools_on_one_machine_have_gpus_of_their_own(visible: str | None, shares: dict[str, str]) -> None:
    pools = [PoolRules(name="big", gpus=2, memory_gib=80), POOL, PoolRules(name="one", gpus=1, memory_gib=80)]
    assert shared_out(pools, visible) == shares
    assert shared_out(pools[:2], visible) == {}


def test_a_worker_is_shown_the_gpus_that_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    farm = plan(tmp_path)
    control = farm.environment_of_control(BROKER)
    gpus = PoolRules(name="one", memory_gib=80)
    assert farm.environment_of_worker(gpus, control, "2")["CUDA_VISIBLE_DEVICES"] == "2"
    assert farm.environment_of_worker(gpus, control)["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    assert farm.environment_of_worker(POOL, control)["CUDA_VISIBLE_DEVICES"] == ""


def test_a_worker_hears_that_its_engines_are_to_be_as_vllm_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = plan(tmp_path, VLLM_ENABLE_V1_MULTIPROCESSING="1", VLLM_API_KEY="secret")
    worker = farm.environment_of_worker(POOL, farm.environment_of_control(BROKER))
    assert "VLLM_API_KEY" not in worker
    assert cpu_variables(tmp_path) != {}
    for name, value in worker.items():
        monkeypatch.setenv(name, value)
    assert cpu_variables(tmp_path) == {}


def test_who_writes_and_reads_logs_has_the_keys_of_the_evidence_store(tmp_path: Path) -> None:
    store = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": "http://s3.test"}
    farm = plan(tmp_path, REPROFARM_EVIDENCE_URL="s3://bucket/evidence", **store)
    control = farm.environment_of_control(BROKER)
    assert store.items() <= control.items()
    assert store.items() <= farm.environment_of_worker(POOL, control).items()


def test_everybody_is_told_of_the_collector_and_of_the_format_of_logs(tmp_path: Path) -> None:
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SERVICE_NAME": "mine"}
    farm = plan(tmp_path, REPROFARM_LOG_FORMAT="json", **traces)
    control = farm.environment_of_control(BROKER)
    worker = farm.environment_of_worker(POOL, control)
    assert control["REPROFARM_LOG_FORMAT"] == worker["REPROFARM_WORKER_LOG_FORMAT"] == "json"
    assert traces.items() <= control.items()
    assert traces.items() <= worker.items()


def test_with_a_workers_environment_alone_nothing_can_be_read_or_signed(tmp_path: Path) -> None:
    farm = plan(tmp_path, **OPERATOR)
    control = farm.environment_of_control(BROKER, writes_to_hub=True)
    worker = farm.environment_of_worker(POOL, control)
    # Whatever a worker's process could tell or find out from what it was given, with all of the farm's code at hand.
    code = (
        "import json, os\n"
        "from scheduler.badges.signing import Signer\n"
        "from scheduler.database.session import Database\n"
        "from scheduler.settings import read_settings\n"
        "found = read_settings()\n"
        "def tried(act):\n"
        "    try:\n        act()\n        return 'done'\n"
        "    except Exception as error:\n        return type(error).__name__\n"
        "read = lambda: Database(found.database_url).engine.connect().exec_driver_sql('SELECT 1 FROM claim')\n"
        "print(json.dumps({'database': found.database_url, 'token': found.hub_token is not None, 'read': tried(read), "
        "'signed': tried(lambda: Signer.load(found.signing_key)), 'environment': dict(os.environ)}))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**worker, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ended.stdout)
    assert told["database"] != control["REPROFARM_DATABASE_URL"]
    assert (told["token"], told["read"], told["signed"]) == (False, "OperationalError", "KeyFileError")
    secret = ("REPROFARM_DATABASE_URL", "REPROFARM_SIGNING_KEY", "REPROFARM_RETIRED_KEYS", "REPROFARM_HUB_TOKEN")
    for name in secret:
        assert control[name] not in told["environment"].values(), name


def test_only_the_process_that_writes_to_the_hub_has_the_token(tmp_path: Path) -> None:
    farm = plan(tmp_path, **OPERATOR)
    assert "REPROFARM_HUB_TOKEN" not in farm.environment_of_control(BROKER)
    assert farm.environment_of_control(BROKER, writes_to_hub=True)["REPROFARM_HUB_TOKEN"] == "hf_write"
    assert not any(name.startswith("REPROFARM_JUDGE") for name in farm.environment_of_control(BROKER))


def test_the_operators_settings_win_over_the_folder(tmp_path: Path) -> None:
    assert (
        settings_in(plan(tmp_path).environment_of_control(BROKER)).database_url == f"sqlite:///{tmp_path}/reprofarm.db"
    )
    settings = settings_in(plan(tmp_path, **OPERATOR).environment_of_control(BROKER))
    assert settings.database_url == OPERATOR["REPROFARM_DATABASE_URL"]
    assert settings.signing_key == Path(OPERATOR["REPROFARM_SIGNING_KEY"])
    assert settings.public_url == "http://127.0.0.1:8123"


def test_what_is_set_to_nothing_is_not_set_and_no_origins_are_none(tmp_path: Path) -> None:
    nothing = {"REPROFARM_API_ORIGINS": "", "REPROFARM_DATABASE_URL": "", "REPROFARM_WORKER_CACHE_FOLDER": ""}
    farm = plan(tmp_path, **nothing)
    control = farm.environment_of_control(BROKER)
    settings = settings_in(control)
    assert (settings.api_origins, settings.database_url) == ("", f"sqlite:///{tmp_path}/reprofarm.db")
    assert farm.environment_of_worker(POOL, control)["REPROFARM_WORKER_CACHE_FOLDER"] == f"{tmp_path}/cache"


def test_a_relative_path_is_the_operators_and_one_file_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {
        "REPROFARM_DATABASE_URL": "sqlite:///var/reprofarm.db?timeout=9",
        "REPROFARM_SIGNING_KEY": "keys/signing.pem",
        "REPROFARM_RETIRED_KEYS": "./keys/retired",
        "REPROFARM_LIVENESS_FILE": "alive",
        "REPROFARM_POLICY": "policy.yaml",
        "REPROFARM_EVIDENCE_URL": "file://evidence",
        "REPROFARM_WORKER_CACHE_FOLDER": "cache",
        "REPROFARM_WORKER_STATE_FOLDER": "state",
    }
    farm = plan(Path("var"), **told)
    control = farm.environment_of_control(BROKER)
    worker = farm.environment_of_worker(POOL, control)
    assert {name: {**control, **worker}[name] for name in told} == {
        "REPROFARM_DATABASE_URL": f"sqlite:///{tmp_path}/var/reprofarm.db?timeout=9",
        "REPROFARM_SIGNING_KEY": f"{tmp_path}/keys/signing.pem",
        "REPROFARM_RETIRED_KEYS": f"{tmp_path}/keys/retired",
        "REPROFARM_LIVENESS_FILE": f"{tmp_path}/alive",
        "REPROFARM_POLICY": f"{tmp_path}/policy.yaml",
        "REPROFARM_EVIDENCE_URL": f"file://{tmp_path}/evidence",
        "REPROFARM_WORKER_CACHE_FOLDER": f"{tmp_path}/cache",
        "REPROFARM_WORKER_STATE_FOLDER": f"{tmp_path}/state",
    }
    assert worker["REPROFARM_WORKER_EVIDENCE_URL"] == control["REPROFARM_EVIDENCE_URL"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SSL_CERT_FILE", "ca.pem", "{}/ca.pem"),
        ("SSL_CERT_DIR", "authorities:/etc/ssl/certs", "{}/authorities:/etc/ssl/certs"),
        ("REQUESTS_CA_BUNDLE", "", ""),
        ("HTTPS_PROXY", "proxy:3128", "proxy:3128"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "keys/google.json", "{}/keys/google.json"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/mine", "~/.aws/mine"),
        ("AWS_CONFIG_FILE", "aws", "{}/aws"),
        ("AWS_CA_BUNDLE", "/etc/ca:2.pem", "/etc/ca:2.pem"),
        ("AWS_SECRET_ACCESS_KEY", "a/b", "a/b"),
        ("FSSPEC_FILE", '{"auto_mkdir": true}', '{"auto_mkdir": true}'),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "collector.pem", "{}/collector.pem"),
    ],
)
def test_files_that_other_projects_variables_name_are_the_operators_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    farm = plan(Path("var"), **{name: value})
    control = farm.environment_of_control(BROKER)
    told = expected.replace("{}", str(tmp_path))
    assert control[name] == farm.environment_of_worker(POOL, control)[name] == told


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),  # noqa: S104 - nothing is bound here
        ("10.0.0.5", "http://10.0.0.5:8123"),
        ("::", "http://[::1]:8123"),
        ("fd00::5", "http://[fd00::5]:8123"),
    ],
)
def test_the_api_is_looked_for_where_the_operator_has_it_listen(tmp_path: Path, host: str, url: str) -> None:
    farm = plan(tmp_path, REPROFARM_API_HOST=host)
    control = settings_in(farm.environment_of_control(BROKER))
    assert (farm.api_url, control.public_url) == (url, url)
    assert control.api_host == (host or "127.0.0.1")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql+psycopg://farm:p%40ss@/farm", "no URL"])
def test_a_database_that_is_no_file_stays_as_it_is_named(tmp_path: Path, url: str) -> None:
    told = plan(tmp_path, REPROFARM_DATABASE_URL=url).environment_of_control(BROKER)
    assert told["REPROFARM_DATABASE_URL"] == url


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="REPROFARM_REQUEST_SECONDS"):
        settings_in(plan(tmp_path, REPROFARM_REQUEST_SECONDS="-1").environment_of_control(BROKER))


@pytest.mark.parametrize(("told", "seconds"), [({}, 25.0), ({"REPROFARM_WORKER_HAND_BACK_SECONDS": "90"}, 90.0)])
def test_a_worker_is_given_the_time_that_it_takes_to_hand_back(
    tmp_path: Path, told: dict[str, str], seconds: float
) -> None:
    farm = plan(tmp_path, **told)
    environment = farm.environment_of_worker(POOL, farm.environment_of_control(BROKER))
    assert hand_back_seconds(environment) == seconds


def test_a_time_to_hand_back_that_is_none_is_the_operators_to_mend() -> None:
    with pytest.raises(PolicyError, match="REPROFARM_WORKER_HAND_BACK_SECONDS"):
        hand_back_seconds({"REPROFARM_WORKER_HAND_BACK_SECONDS": "soon"})


def test_a_farm_without_a_policy_gets_one_with_the_memory_of_its_machine(tmp_path: Path) -> None:
    assert settings_in(plan(tmp_path).environment_of_control(BROKER)).policy is None
    write_policy(tmp_path)
    written = settings_in(plan(tmp_path).environment_of_control(BROKER)).policy
    (machine,) = Machine().look()
    (pool,) = read_policy(written).pools
    assert machine.total_bytes / GIB - 0.1 < pool.memory_gib <= machine.total_bytes / GIB
    assert read_policy(written).model_copy(update={"pools": Policy().pools}) == Policy()


@pytest.mark.parametrize(
    ("of_second", "expected"),
    [
        ({"capability": [9, 0]}, PoolRules(name="gpu", gpus=2, memory_gib=47.9, compute_capability=8.9)),
        ({}, PoolRules(name="gpu", gpus=2, memory_gib=47.9)),
        ({"lost": True}, PoolRules(name="gpu", gpus=1, memory_gib=47.9, compute_capability=8.9)),
    ],
)
def test_a_machine_with_gpus_gets_a_pool_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_second: dict[str, object], expected: PoolRules
) -> None:
    gpus = [
        {"name": "L40S", "uuid": "GPU-0", "total": int(47.99 * GIB), "free": 1, "processes": {}, "capability": [8, 9]},
        {"name": "H100", "uuid": "GPU-1", "total": 79 * GIB, "free": 1, "processes": {}, **of_second},
    ]
    (tmp_path / "nvml.json").write_text(json.dumps(gpus))
    monkeypatch.setenv("CUDA_FAKE_NVML", str(tmp_path / "nvml.json"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_library", lambda: pynvml)
    monkeypatch.setattr(own_policy, "CPU_BUILD", "a-build-that-is-not-installed")
    write_policy(tmp_path)
    assert read_policy(tmp_path / "policy.yaml").pools == (expected,)
    # The CPU build cannot use them.
    monkeypatch.setattr(own_policy, "CPU_BUILD", "pytest")
    assert [pool.device for pool in own_pools()] == ["cpu"]


def test_a_policy_that_is_named_wins_over_the_one_in_the_folder(tmp_path: Path) -> None:
    write_policy(tmp_path)
    named = plan(tmp_path, REPROFARM_POLICY="/etc/mine.yaml").environment_of_control(BROKER)
    assert settings_in(named).policy == Path("/etc/mine.yaml")
