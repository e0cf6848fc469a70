"""Real MMLU-Pro questions and its real eval.yaml: claims in, verdicts out.

Of the farm, the control plane's parts are called here; its processes are those of the demo's test.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi
from sqlalchemy import select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import RepoName, RepoType
from scheduler.collect import reports
from scheduler.database.tables import Claim, Reproduction, VerdictRow
from scheduler.dispatch.dispatcher import dispatch
from specs.judging.verdict import Verdict
from specs.measurement import Measurement
from specs.policy.rules import Policy
from tests.e2e.conftest import RULES
from tests.support.hub_content import add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane
from tests.support.sent_batches import sent_batches
from tests.support.worker_bench import MODEL, run
from workers.batches.workbench import Workbench
from workers.snapshots.fetch import Snapshots

pytestmark = pytest.mark.e2e

BENCHMARK = "TIGER-Lab/MMLU-Pro"
SAMPLES = 32

POLICY = Policy.model_validate(
    {
        "engine": RULES,
        "pools": ({"name": "cpu", "device": "cpu", "gpus": 0, "memory_gib": 4.0},),
        "benchmarks": {BENCHMARK: {"sample_limit": SAMPLES, "generation": {"temperature": 0.0, "max_tokens": 32}}},
    }
)

README = """\
---
configs:
  - config_name: default
    data_files:
      - {split: test, path: data/test.parquet}
---
"""


def fill(hub: LocalHub, shared_data: Path) -> None:
    """MMLU-Pro as the Hub serves it, and a model that claims two scores on it."""
    benchmark = RepoName(RepoType.DATASET, BENCHMARK)
    hub.create_repo(benchmark)
    files: dict[str, bytes | Path] = {
        "README.md": README.encode(),
        "eval.yaml": shared_data / "eval_yaml" / "mmlu_pro.yaml",
        "data/test.parquet": shared_data / "mmlu_pro" / "test.parquet",
    }
    hub.commit(benchmark, files, CommitText("Add MMLU-Pro", "TIGER-Lab"))
    hub.mark_benchmark(benchmark)
    inflated = entry(BENCHMARK, 95.0, task="mmlu_pro")
    modest = entry(BENCHMARK, 10.5, task="mmlu_pro", more="  notes: zero-shot\n")
    submit(hub, add_model(hub, MODEL.model_id), inflated + modest)


def plan(farm: ControlPlane) -> None:
    """One run for both claims, of the model as the bench has it, whose engine is up: the Hub's has no real weights."""
    farm.scan()
    farm.plan()
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(model_revision=MODEL.revision))


def work(farm: ControlPlane, workbench: Workbench) -> Measurement:
    """Have it be run, and take in the report."""
    dispatch(farm.database, farm.policy)
    (batch,) = sent_batches(farm.database)
    (order,) = batch.orders
    hub = HfApi(endpoint=farm.served.url, token=False)
    Snapshots(workbench.snapshots.folder, hub, 2**30).dataset(order.task)
    report = run(workbench, batch).reports[order.ref.reproduction_id]
    assert report.measurement is not None, report.detail
    reports.report(farm.database, farm.policy, workbench.settings.evidence_url, report)
    return report.measurement


def test_a_claim_on_mmlu_pro_is_judged_by_a_run_of_its_real_spec(
    workbench: Workbench, shared_data: Path, tmp_path: Path
) -> None:
    with control_plane(tmp_path, policy=POLICY) as farm:
        fill(farm.served.local, shared_data)
        plan(farm)
        measured = work(farm, workbench)
        with farm.database.reading() as session:
            rows = session.execute(select(Claim.value, VerdictRow.verdict).join(VerdictRow))
            verdicts = {value: Verdict.model_validate(verdict, strict=False) for value, verdict in rows}
    inflated, modest = verdicts[95.0], verdicts[10.5]
    assert inflated.outcome == "mismatch", inflated.reason
    # 32 of 12,032 samples cannot tell whether 10.5 % is right to a point, and the farm says so.
    assert modest.outcome == "inconclusive", modest.reason
    assert inflated.comparison is not None
    assert inflated.comparison.population == 12_032
    assert 20 <= inflated.comparison.samples_used < SAMPLES, "it had its answer before the other claim gave up"
    assert modest.comparison is not None
    assert modest.comparison.samples_used == SAMPLES
    assert measured.scorer == "choice"
