"""Real MMLU-Pro questions and its real eval.yaml through the whole farm: claim in, verdict out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from deploy.client import ClaimFilter, FarmClient
from deploy.demo.run import POLICY as DEMO
from deploy.farm.environments import Plan
from deploy.farm.farm import running_farm
from deploy.farm.processes import Processes
from deploy.localhub.commits import CommitText
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import RepoName, RepoType
from specs.api_v1.claims import ClaimView
from tests.support.hub_content import entry, submit
from tests.support.localhub import running_hub
from workers.processes.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

BENCHMARK = "TIGER-Lab/MMLU-Pro"
MODEL = "tiny/smollm2"
SAMPLES = 32
PATIENCE_SECONDS = 1000

POLICY = {
    "version": 1,
    "watch": {"scan_seconds": 3.0},
    "engine": DEMO["engine"],
    "pools": [{"name": "cpu", "device": "cpu", "gpus": 0, "memory_gib": 4.0}],
    "benchmarks": {BENCHMARK: {"sample_limit": SAMPLES, "generation": {"temperature": 0.0, "max_tokens": 32}}},
}

README = """\
---
configs:
  - config_name: default
    data_files:
      - {split: test, path: data/test.parquet}
---
"""


def fill(hub: LocalHub, shared_data: Path, small_model: Path) -> None:
    """MMLU-Pro as the Hub serves it, and a small model that claims two scores on it."""
    benchmark = RepoName(RepoType.DATASET, BENCHMARK)
    hub.create_repo(benchmark)
    files: dict[str, bytes | Path] = {
        "README.md": README.encode(),
        "eval.yaml": shared_data / "eval_yaml" / "mmlu_pro.yaml",
        "data/test.parquet": shared_data / "mmlu_pro" / "test.parquet",
    }
    hub.commit(benchmark, files, CommitText("Add MMLU-Pro", "TIGER-Lab"))
    hub.mark_benchmark(benchmark)
    model = RepoName(RepoType.MODEL, MODEL)
    hub.create_repo(model)
    weights = {path.name: path for path in small_model.iterdir() if path.is_file()}
    hub.commit(model, weights, CommitText("Add the model", "tiny"))
    inflated = entry(BENCHMARK, 95.0, task="mmlu_pro")
    modest = entry(BENCHMARK, 10.5, task="mmlu_pro", more="  notes: zero-shot\n")
    submit(hub, model, inflated + modest)


def wait_for_the_end(client: FarmClient, processes: Processes) -> list[ClaimView]:
    """The claims, once each has its verdict."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        processes.check()
        claims = client.claims(ClaimFilter(), limit=10).items
        if len(claims) == 2 and all(claim.verdict is not None for claim in claims):
            return list(claims)
        time.sleep(1.0)
    raise AssertionError(f"no verdict in {PATIENCE_SECONDS} s: {[log.tail(20) for log in processes.logs]}")


def test_a_claim_on_mmlu_pro_is_judged_by_a_run_of_its_real_spec(
    shared_data: Path, small_model: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    with running_hub(tmp_path / "hub") as hub:
        fill(hub.local, shared_data, small_model)
        processes = Processes(tmp_path, tmp_path / "logs")
        plan = Plan(tmp_path / "farm", free_port(), hub_endpoint=hub.url, policy=policy)
        with running_farm(plan, processes) as farm, FarmClient(farm.api_url) as client:
            claims = wait_for_the_end(client, processes)
            (reproduction,) = {claim.reproduction.id for claim in claims if claim.reproduction is not None}
            run = client.reproduction(reproduction)
    by_value = {claim.value: claim for claim in claims}
    inflated, modest = by_value[95.0].verdict, by_value[10.5].verdict
    assert inflated is not None
    assert modest is not None
    assert inflated.outcome == "mismatch", inflated.reason
    # 32 of 12,032 samples cannot tell whether 10.5 % is right to a point, and the farm says so.
    assert modest.outcome == "inconclusive", modest.reason
    assert inflated.comparison is not None
    assert inflated.comparison.population == 12_032
    assert 20 <= inflated.comparison.samples_used < SAMPLES, "it had its answer before the other claim gave up"
    assert modest.comparison is not None
    assert modest.comparison.samples_used == SAMPLES
    assert run.measurement is not None
    assert run.measurement.scorer == "choice"
