"""Judges outside the cluster: asked by its proxy, whose password is told to nobody, and trusted by its authorities."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from specs.messages import AttemptOutcome
from specs.policy.judges import JudgeEndpoint
from tests.support.proxied_judge import HOST, PASSWORD, proxied_judge
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model
from tests.support.tls_server import certificates_read_anew
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in
from workers.batches.workbench import Workbench
from workers.runs.judges import judge_environment

JUDGE = "openai/o3-mini"
SOMEWHERE = JudgeEndpoint(base_url=f"https://{HOST}/v1", model="judge-2026")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as opened:
        yield opened


def _judged(workbench: Workbench, question: str = "Say: yes") -> Path:
    arguments = {"model": JUDGE, "template": "{question} {answer} {criterion} {instructions}"}
    task: dict[str, Any] = {**SAY_SPEC["tasks"][0], "scorers": [{"name": "model_graded_qa", "args": arguments}]}
    cache = workbench.settings.cache_folder
    rows = [{"question": question, "answer": "yes"}]
    snapshot = write_dataset(cache.parent / "say", rows, {**SAY_SPEC, "tasks": [task]})
    remember_snapshot(cache, "dataset", "bench/say", snapshot)
    return snapshot


def test_a_judge_is_asked_by_the_proxy_and_trusted_by_the_authorities_of_the_cluster(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = _judged(workbench)
    with proxied_judge(tmp_path) as judge, certificates_read_anew():
        monkeypatch.setenv("HTTPS_PROXY", judge.proxy)
        # By this one the engine would not be reached.
        monkeypatch.setenv("HTTP_PROXY", NOWHERE)
        monkeypatch.setenv("SSL_CERT_FILE", str(judge.certificate))
        report = run(workbench, batch_of(order(task_ref(snapshot), judges={JUDGE: SOMEWHERE}))).reports["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert report.measurement.score == 1.0
    assert set(judge.reached) == {f"{HOST}:443"}
    (log,) = (tmp_path / "evidence").rglob("*.eval")
    with zipfile.ZipFile(log) as files:
        said = b"".join(files.read(name) for name in files.namelist())
    assert PASSWORD.encode() not in said


def test_what_a_report_says_shows_no_secret_of_the_workers(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://farm:stand-in@127.0.0.1:9")
    monkeypatch.setattr("workers.batches.batch.check_judges", lambda _: None)
    snapshot = _judged(workbench, "[fail]")
    report = run(workbench, batch_of(order(task_ref(snapshot), judges={JUDGE: SOMEWHERE}))).reports["r1"]
    assert "the *** was told to fail" in report.detail


def test_a_run_without_a_judge_is_told_of_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    assert judge_environment([]) == {}


@pytest.mark.parametrize(
    ("past", "told"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": ".svc"}, "127.0.0.1,.svc"),
        ({"NO_PROXY": ".a", "no_proxy": ".b"}, "127.0.0.1,.b"),
    ],
)
def test_the_engine_is_asked_past_every_proxy(past: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    for name, value in past.items():
        monkeypatch.setenv(name, value)
    found = judge_environment([SOMEWHERE])
    assert (found["HTTPS_PROXY"], found["no_proxy"]) == (NOWHERE, told)
    assert "NO_PROXY" not in found
