"""Runs on a farm of real processes, of which only the engine is a stand-in: one goes its way, others are cancelled.

The first is followed as a collector of traces and whoever reads the logs see it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from scheduler.database.tables import Claim
from scheduler.state_machine import ClaimState
from specs.processes.log_lines import FIELDS
from tests.support.collector import Collector, Told, collecting
from tests.support.echo import add_echo
from tests.support.hub_content import add_model, entry, submit
from tests.support.real_farm import BENCHMARK, SAMPLES, WATCHED, RealFarm, real_farm

pytest.importorskip("psutil", reason="workers need the extra `run`")

SECRET = "s3cret-of-the-collector"

POLICY = {**WATCHED, "run": {"heartbeat_seconds": 600.0, "lease_seconds": 1800.0, "side_by_side": 1}}
"""A worker that is told to stop only when it says something next would be told too late for the tests' patience."""

HANGS, QUICK = "acme/hangs", "acme/quick"


@dataclass(frozen=True)
class Cancelled:
    """A batch of two of another model: one whose engine never answers, and behind it one that is quick."""

    first: str
    """The reproduction that hung."""

    again: str
    """The one after `retry`."""

    quick: Claim
    held: Claim
    """The other, once its run was cancelled."""


def cancelled_and_tried_again(farm: RealFarm) -> Cancelled:
    add_echo(farm.hub.local, HANGS, [(f"{number} [hang]", "yes") for number in range(5)])
    add_echo(farm.hub.local, QUICK, [(f"{number} Say: yes", "yes") for number in range(5)])
    claims = "".join(entry(name, 100, task="echo") for name in (HANGS, QUICK))
    submit(farm.hub.local, add_model(farm.hub.local, "tiny/second"), claims)
    farm.wait(lambda: farm.stage(HANGS) == "running")
    first = farm.claim(HANGS).reproduction_id
    assert first is not None
    reprofarm(farm, "cancel", first, "--why", "it hangs")
    # The engine never answers the first, and no heartbeat is due: the second runs because the worker was told.
    farm.wait(lambda: farm.claim(QUICK).state == ClaimState.DECIDED)
    quick, held = farm.claim(QUICK), farm.claim(HANGS)
    reprofarm(farm, "retry", held.claim_id)
    # Not until a certain stage: with a warm engine they follow so closely that the last to be heard may be another.
    farm.wait(lambda: farm.stage(HANGS) is not None)
    again = farm.claim(HANGS).reproduction_id
    assert again is not None
    reprofarm(farm, "cancel", held.claim_id, "--why", "it still hangs")
    log = farm.folder / "logs" / "worker.log"
    farm.wait(lambda: f"dropped {again}, attempt 1" in log.read_text())
    return Cancelled(first, again, quick, held)


def reprofarm(farm: RealFarm, *arguments: str) -> None:
    done = CliRunner().invoke(app, arguments, env=farm.control)
    assert done.exit_code == 0, done.output


@dataclass(frozen=True)
class Seen:
    """What was left behind."""

    collector: Collector
    claim_id: str
    run: str
    logs: dict[str, list[dict[str, Any]]]
    """Lines of each process."""

    said: str
    """All that any process said."""

    cancelled: Cancelled

    @property
    def claims(self) -> dict[str, Told]:
        return self.collector.trace(self.claim_id)

    @property
    def runs(self) -> dict[str, Told]:
        return self.collector.trace(self.run)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("traced")
    told = {
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "REPROFARM_LOG_FORMAT": "json",
        "REPROFARM_WORKER_LOG_FORMAT": "json",
    }
    with (
        collecting() as collector,
        real_farm(
            folder,
            POLICY,
            {BENCHMARK: [f"{number} Say: yes" for number in range(SAMPLES)]},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **told},
        ) as farm,
    ):
        farm.start_api()
        farm.start_worker()
        farm.wait(lambda: any(claim["state"] == "decided" for claim in farm.claims()))
        (claim,) = farm.claims()
        claim_id, run = str(claim["id"]), str(farm.get(f"/v1/claims/{claim['id']}")["reproduction"]["id"])
        farm.wait(lambda: {"claim", "sign"} <= set(collector.trace(claim_id)))
        farm.wait(lambda: {"reproduction", "judge", "store"} <= set(collector.trace(run)))
        cancelled = cancelled_and_tried_again(farm)
        farm.processes.stop()
        texts = {log.name: log.path.read_text() for log in farm.processes.logs if log.name != "redis"}
    # Celery warns root before it logs anything, and says past its log that it was told to stop.
    logs = {
        name: [json.loads(line) for line in text.splitlines() if line.startswith("{")] for name, text in texts.items()
    }
    return Seen(collector, claim_id, run, logs, "".join(texts.values()), cancelled)


def test_a_claims_trace_goes_from_the_hub_to_the_badge(seen: Seen) -> None:
    assert set(seen.claims) == {"claim", "plan", "sign"}
    root = seen.claims["claim"]
    assert root.parent_id == ""
    assert root.attributes["reprofarm.outcome"] == "verified"
    assert root.links == [seen.run]
    assert {span.parent_id for name, span in seen.claims.items() if name != "claim"} == {root.span_id}
    assert root.start == seen.claims["plan"].start <= seen.claims["plan"].end <= root.end <= seen.claims["sign"].end


def test_a_reproductions_trace_goes_from_the_queue_through_the_worker_to_the_verdict(seen: Seen) -> None:
    runs = seen.runs
    root, attempt = runs["reproduction"], runs["attempt"]
    assert root.links == [seen.claim_id]
    assert {name for name, span in runs.items() if span.parent_id == root.span_id} == {"queue", "attempt"}
    inside = {name for name, span in runs.items() if span.parent_id == attempt.span_id}
    assert inside == {"wait", "fetch", "start_engine", "run", "store", "judge"}
    order = ["queue", "wait", "fetch", "start_engine", "run", "store", "judge"]
    starts = [runs[name].start for name in order]
    assert starts == sorted(starts)
    assert attempt.attributes["reprofarm.samples_done"] == SAMPLES
    assert not any(span.failed for span in runs.values())


def test_each_process_tells_its_part_under_its_own_name(seen: Seen) -> None:
    services = {name: span.service for name, span in {**seen.runs, **seen.claims}.items()}
    workers = {"fetch", "start_engine", "run", "store"}
    assert {name for name, service in services.items() if service == "reprofarm-worker"} == workers
    assert {service for name, service in services.items() if name not in workers} == {"reprofarm-control"}
    assert {each["authorization"] for each in seen.collector.headers} == {f"Bearer {SECRET}"}


def test_every_process_logs_lines_of_json(seen: Seen) -> None:
    assert {"api", "worker"} <= {name for name, lines in seen.logs.items() if lines}
    assert not re.search(r"^\[?\d{4}-\d\d-\d\d|^(INFO|WARNING):", seen.said, re.MULTILINE), "no line of text"
    for line in (each for lines in seen.logs.values() for each in lines):
        assert {"time", "level", "logger", "message", "process"} <= set(line)
        assert set(line) <= {"time", "level", "logger", "message", "process", "exception", "stack", *FIELDS}


def test_a_workers_lines_say_what_they_are_about(seen: Seen) -> None:
    mine = [line for line in seen.logs["worker"] if line.get("reproduction_id") == seen.run]
    assert mine
    for line in mine:
        assert line["trace_id"] == seen.run
        assert line["attempt"] == 1
        assert line["pool"] == "cpu"
        assert line["worker"].startswith("worker@")
        assert len(line["batch_id"]) == 32


def test_the_control_workers_log_follows_a_claim_and_its_run(seen: Seen) -> None:
    told = [line for line in seen.logs["control"] if line["logger"] == "scheduler.telemetry.record_log"]
    states = [line["message"].split(" ")[2].rstrip(",") for line in told if line.get("claim_id") == seen.claim_id]
    assert states == ["submitted", "planned", "decided", "badge"]
    ran = [line["message"] for line in told if line.get("reproduction_id") == seen.run]
    assert any("running, by worker:worker@" in message for message in ran)
    assert not [line for line in seen.logs["control"] if line["logger"] in ("celery.app.trace", "httpx", "httpx2")]


def test_no_process_says_what_opens_the_collector(seen: Seen) -> None:
    assert SECRET not in seen.said


def test_a_cancelled_run_frees_the_engine_for_the_next_of_its_batch_and_can_be_tried_again(seen: Seen) -> None:
    cancelled = seen.cancelled
    assert cancelled.quick.reason.startswith("verified")
    assert (cancelled.held.state, "it hangs" in cancelled.held.reason) == (ClaimState.BLOCKED, True)
    assert cancelled.again != cancelled.first
    said = [line["message"] for line in seen.logs["worker"]]
    assert len([line for line in said if f"dropped {cancelled.first}, attempt 1" in line]) == 1
    assert len([line for line in said if "engine for tiny/second up" in line]) == 1, "the same engine served both"
