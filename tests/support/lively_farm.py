"""A farm with something in every state, for looking at its pages: made up, and judged by the real rules."""

from __future__ import annotations

import hashlib
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scheduler.database.tables import (
    Badge,
    Benchmark,
    Event,
    Model,
    Publication,
    SpecFile,
    VerdictRow,
    new_id,
    now,
)
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.decision import CompletedRun
from specs.judging.likely_reasons import Claimed, likely_reasons
from specs.judging.stopping import JudgedClaim, Stopping
from specs.judging.verdict import Outcome, Verdict
from specs.logs.evidence import path_in_store
from specs.measurement import Measurement
from tests.support.lively_runs import Story, attestation, measurement_of
from tests.support.lively_workers import add_workers
from tests.support.rows import Rows, commit_id

CAPITALS, MATHS, LAW = "open-evals/capitals-hard", "northwind/grade-school-math", "civics-lab/case-law"
MODELS = (
    ("lumen-ai/lumen-1.5b-instruct", 3.1, 0.62),
    ("lumen-ai/lumen-7b-instruct", 15.2, 0.78),
    ("tiny-works/pocket-360m", 0.7, 0.31),
    ("tiny-works/pocket-135m", 0.3, 0.24),
    ("marble/marble-3b-chat", 6.4, 0.58),
    ("heron-labs/heron-8b", 16.1, 0.71),
    ("heron-labs/heron-8b-math", 16.1, 0.83),
    ("quiet-river/river-2b", 4.2, 0.49),
    ("oak/oak-0.5b-it", 1.0, 0.38),
    ("marble/marble-14b-chat", 28.8, 0.81),
)
SPEC = b"""\
# Questions about capitals that are easily confused with the largest city.
evaluation_framework: inspect-ai
tasks:
  - id: capital_of_country
    config: default
    split: test
    field_spec:
      input: question
      target: capital
    solvers:
      - name: system_message
        args: {template: "Answer with the name of the city alone."}
      - name: generate
    scorers:
      - name: match
"""


class LivelyFarm:
    """Fills a migrated database."""

    def __init__(self, rows: Rows, evidence: Path, log: Path | None = None) -> None:
        self.rows = rows
        self.evidence = evidence
        self.log = log
        """The log that the newest run's evidence is."""

        self.random = random.Random(5)  # noqa: S311 - made-up data, the same each time
        self.at = now()

    def fill(self, days: int = 13) -> dict[str, str]:
        """Claims by what a picture wants of them; others were decided on each of so many days."""
        self.publish_benchmarks()
        found: dict[str, str] = {}
        for ago in range(days, 0, -1):
            for _ in range(self.random.choice((2, 4, 5, 7, 3, 9))):
                self.decided(self._any_story(ago * 1440 - self.random.randrange(1200)))
        self._failures()
        for minutes in (420, 300, 250, 190, 140, 95):
            self.decided(self._any_story(minutes))
        wrong = Story(MODELS[5][0], CAPITALS, "capital_of_country", 0.81, 0.655, 1500, 61, truncated=23)
        found["mismatch"] = self.decided(wrong)
        found["inconclusive"] = self.decided(Story(MODELS[7][0], LAW, None, 0.52, 0.47, 90, 48))
        right = Story(MODELS[1][0], CAPITALS, "capital_of_country", 0.782, 0.786, 1500, 12)
        found["verified"] = self.decided(right, log=self.log)
        found["running"] = self._running(MODELS[9][0], CAPITALS, 0.81, 412, 1500, 0.7985, "gpu-a100-1@node-3")
        self._running(MODELS[6][0], MATHS, 0.835, 88, 1319, 0.852, "gpu-a100-2@node-3")
        self._starting(MODELS[2][0], LAW)
        for model, *_ in MODELS[3:9]:
            self._queued(model, MATHS)
        found["blocked"] = self._waiting()
        self._models()
        add_workers(self.rows, self.at, MODELS[9][0], MODELS[6][0])
        return found

    def publish_benchmarks(self) -> None:
        """Benchmarks, as the Hub shows them."""
        sizes = {CAPITALS: 1500, MATHS: 1319, LAW: 90}
        self.revisions = {dataset: commit_id() for dataset in sizes}
        for dataset, samples in sizes.items():
            revision = self.revisions[dataset]
            seen = self.at - timedelta(minutes=3)
            counts = {"default": {"test": samples}}
            self.rows.add(
                Benchmark(dataset_id=dataset, revision=revision, seen_at=seen, sizes=counts, gated=dataset == LAW)
            )
            self.rows.add(SpecFile(dataset_id=dataset, revision=revision, text=SPEC))
        self.revisions |= {model: commit_id() for model, *_ in MODELS}

    def _models(self) -> None:
        """At the end: each row that is added has its model at another commit."""
        for model, gib, _ in MODELS:
            self.rows.add(
                Model(
                    model_id=model,
                    revision=self.revisions[model],
                    weights_sha256=hashlib.sha256(model.encode()).hexdigest(),
                    weights_bytes=int(gib * 2**30),
                    looked_at=self.at - timedelta(minutes=3),
                )
            )

    def _any_story(self, minutes_ago: float) -> Story:
        model, _, skill = self.random.choice(MODELS)
        dataset, task, population = self.random.choice(
            ((CAPITALS, "capital_of_country", 1500), (MATHS, "main", 1319), (MATHS, "main", 1319), (LAW, None, 90))
        )
        truth = min(0.95, max(0.05, skill + self.random.gauss(0, 0.06)))
        off = self.random.choice((0, 0, 0, 0.004, -0.006, 0.01, 0.09, 0.14))
        claimed = round(min(0.98, truth + off), 3)
        return Story(model, dataset, task, claimed, truth, population, minutes_ago, self.random.random() < 0.25)

    def _times(self, minutes_ago: float) -> tuple[datetime, datetime, datetime, datetime]:
        """Found, sent, started, ended."""
        end = self.at - timedelta(minutes=minutes_ago)
        return tuple(end - timedelta(minutes=before) for before in (96, 31, 29, 0))  # type: ignore[return-value]

    def decided(self, story: Story, log: Path | None = None) -> str:
        """A claim that was run and judged; returns its id."""
        found_at, sent_at, started_at, ended_at = self._times(story.minutes_ago)
        judged = JudgedClaim(
            claim_id=new_id(), claimed=story.claimed, tolerance=0.03 if story.population > 100 else None
        )
        stopping = Stopping(claims=(judged,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
        measured = measurement_of(story, stopping, (started_at, ended_at), self.random)
        verdict = self._explained(CompletedRun(stopping, measured, "sequential").decide(judged), measured, story)
        sha256, size = self._store(log)
        run = new_id()
        claim_id = self.rows.planned(
            story.model,
            run={
                "state": ReproductionState.COMPLETED,
                "reason": "attempt 1 completed",
                "attempt": 1,
                "worker": "gpu-a100-1@node-3",
                "measurement": measured.model_dump(mode="json"),
                "stopping": stopping.model_dump(mode="json"),
                "seed": measured.circumstances.seed,
                "evidence_sha256": sha256,
                "evidence_bytes": size,
                "pool": "a100",
                "since": ended_at,
                "created_at": found_at,
                **self._of(story),
            },
            **self._claim(story, judged, found_at),
            state=ClaimState.DECIDED,
            reason=f"{verdict.outcome}: {verdict.reason}",
            since=ended_at,
        )
        run = self.rows.run_of(claim_id)
        self.rows.attempt(
            run, 1, worker="gpu-a100-1@node-3", started_at=started_at, ended_at=ended_at, outcome="completed",
            stage="storing", samples_done=len(measured.sample_scores), samples_total=story.population,
            score=measured.score,
        )  # fmt: skip
        self._verdict(claim_id, verdict, run, ended_at)
        self._tell(claim_id, run, (found_at, sent_at, started_at, ended_at), verdict)
        if verdict.outcome is Outcome.VERIFIED:
            self._badge(claim_id, story, measured, verdict, ended_at)
        return claim_id

    def _explained(self, verdict: Verdict, measured: Measurement, story: Story) -> Verdict:
        if verdict.outcome is not Outcome.MISMATCH or verdict.comparison is None:
            return verdict
        claimed = Claimed(scale="percent", pinned=False, dataset_revision=self.revisions[story.dataset])
        return verdict.model_copy(update={"likely_reasons": likely_reasons(verdict.comparison, measured, claimed)})

    def _of(self, story: Story) -> dict[str, Any]:
        return {
            "dataset_id": story.dataset,
            "task_id": story.task,
            "dataset_revision": self.revisions[story.dataset],
            **({"model_revision": self.revisions[story.model]} if story.model in self.revisions else {}),
            "spec_sha256": hashlib.sha256(SPEC).hexdigest(),
        }

    def _claim(self, story: Story, judged: JudgedClaim, found_at: datetime) -> dict[str, Any]:
        owner = story.model.partition("/")[0]
        return {
            "claim_id": judged.claim_id,
            "dataset_id": story.dataset,
            "task_id": story.task,
            "value": round(100 * story.claimed, 2),
            "submitter": "passer-by" if story.community else owner,
            "pull_request": 7 if story.community else None,
            "ref": "refs/pr/7" if story.community else "main",
            "path": f".eval_results/{story.dataset.partition('/')[2]}.yaml",
            "source_url": f"https://evals.example/{owner}/{story.dataset.partition('/')[2]}",
            "rules": {
                "scale": "percent",
                "scale_source": "policy",
                "claimed": story.claimed,
                "tolerance": judged.tolerance,
                "tolerance_source": "policy",
                "spread": None,
                "policy_sha256": "0" * 64,
            },
            "gpu_seconds": 740.0,
            "created_at": found_at,
        }

    def _store(self, log: Path | None) -> tuple[str, int]:
        content = log.read_bytes() if log else self.random.randbytes(64)
        sha256 = hashlib.sha256(content).hexdigest()
        file = self.evidence / path_in_store(sha256)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return sha256, len(content)

    def _verdict(self, claim_id: str, verdict: Verdict, run: str | None, at: datetime) -> None:
        stored = verdict.model_dump(mode="json")
        self.rows.add(
            VerdictRow(claim_id=claim_id, outcome=verdict.outcome, verdict=stored, reproduction_id=run, decided_at=at)
        )

    def _badge(self, claim_id: str, story: Story, measured: Measurement, verdict: Verdict, at: datetime) -> None:
        badge_id = new_id()
        signed = attestation(badge_id, story, measured, verdict, int(at.timestamp()), self.revisions[story.dataset])
        self.rows.add(
            Badge(
                claim_id=claim_id,
                badge_id=badge_id,
                token=self.rows.signer.sign(signed),
                key_id=self.rows.signer.key_id,
                signed_at=at + timedelta(seconds=4),
            )
        )
        url = f"https://hub.example/{story.model}/discussions/4"
        self.rows.add(Publication(claim_id=claim_id, state="published", number=4, url=url, due_at=None))

    def _tell(self, claim_id: str, run: str, times: tuple[datetime, ...], verdict: Verdict) -> None:
        found_at, sent_at, started_at, ended_at = times
        self._event(found_at, "claim", claim_id, "submitted", "found on the Hub")
        self._event(found_at + timedelta(seconds=20), "claim", claim_id, "planned", f"judged by reproduction {run}")
        self._event(sent_at, "reproduction", run, "dispatched", "attempt 1, sent to pool a100")
        self._event(started_at, "reproduction", run, "running", "attempt 1 was taken", "worker:gpu-a100-1@node-3")
        self._event(ended_at, "reproduction", run, "completed", "attempt 1 completed", "worker:gpu-a100-1@node-3")
        self._event(ended_at, "claim", claim_id, "decided", f"{verdict.outcome}: {verdict.reason}")

    def _event(
        self, at: datetime, subject: str, subject_id: str, what: str, why: str, actor: str = "scheduler"
    ) -> None:
        with self.rows.database.transaction() as session:
            session.add(Event(at=at, actor=actor, subject=subject, subject_id=subject_id, what=what, why=why))

    def _failures(self) -> None:
        told = (
            (Outcome.FAILED, "the model's weights cannot be loaded: lm_head.weight is missing from model.safetensors"),
            (Outcome.UNSUPPORTED, "the task asks for tools, which this farm does not give to models"),
            (Outcome.FAILED, "the engine ran out of memory in 3 attempts, the last with 16 requests at a time"),
        )
        for number, (outcome, reason) in enumerate(told):
            for days in (9, 5, 2, 1) if number == 0 else (6, 1):
                at = self.at - timedelta(days=days, minutes=300)
                story = Story(self.random.choice(MODELS)[0], MATHS, "main", 0.5, 0.5, 1319, 0)
                judged = JudgedClaim(claim_id=new_id(), claimed=0.5, tolerance=0.03)
                claim_id = self.rows.claim(
                    story.model,
                    **self._claim(story, judged, at - timedelta(hours=1)),
                    state=ClaimState.DECIDED,
                    reason=f"{outcome}: {reason}",
                    since=at,
                )
                self._verdict(claim_id, Verdict(outcome=outcome, reason=reason, comparison=None), None, at)

    def _running(  # noqa: PLR0917 - the figures of a run
        self, model: str, dataset: str, claimed: float, done: int, total: int, score: float, worker: str
    ) -> str:
        story = Story(model, dataset, "capital_of_country" if dataset == CAPITALS else "main", claimed, score, total, 0)
        at = self.at - timedelta(minutes=4)
        judged = JudgedClaim(claim_id=new_id(), claimed=claimed, tolerance=0.03)
        run = {
            "state": ReproductionState.RUNNING, "reason": f"attempt 1 by {worker}", "attempt": 1, "worker": worker,
            "pool": "a100", "since": at, "created_at": at - timedelta(minutes=30), **self._of(story),
        }  # fmt: skip
        claim = self._claim(story, judged, at - timedelta(minutes=30))
        claim_id = self.rows.planned(model, run=run, **claim, since=at - timedelta(minutes=29))
        run_id = self.rows.run_of(claim_id)
        self.rows.attempt(
            run_id, 1, worker=worker, stage="running", started_at=at, alive_at=self.at, samples_done=done,
            samples_total=total, score=score,
        )  # fmt: skip
        self._event(at - timedelta(minutes=30), "claim", claim_id, "submitted", "found on the Hub")
        self._event(at - timedelta(minutes=29), "claim", claim_id, "planned", f"judged by reproduction {run_id}")
        self._event(at, "reproduction", run_id, "running", "attempt 1 was taken", f"worker:{worker}")
        return claim_id

    def _starting(self, model: str, dataset: str) -> None:
        at = self.at - timedelta(minutes=11)
        story = Story(model, dataset, None, 0.33, 0.3, 90, 0)
        run = {
            "state": ReproductionState.DISPATCHED, "reason": "attempt 1, sent to pool cpu", "attempt": 1,
            "since": self.at - timedelta(seconds=40), "created_at": self.at - timedelta(minutes=11), **self._of(story),
        }  # fmt: skip
        judged = JudgedClaim(claim_id=new_id(), claimed=0.33, tolerance=None)
        claim_id = self.rows.planned(model, run=run, **self._claim(story, judged, at), since=at)
        self.rows.attempt(self.rows.run_of(claim_id), 1)

    def _queued(self, model: str, dataset: str) -> None:
        story = Story(model, dataset, "main", 0.5, 0.5, 1319, 0)
        at = self.at - timedelta(minutes=self.random.randrange(3, 140))
        run = {"pool": "a100", "since": at, "created_at": at, **self._of(story)}
        judged = JudgedClaim(claim_id=new_id(), claimed=0.5, tolerance=0.03)
        self.rows.planned(model, run=run, **self._claim(story, judged, at), since=at)

    def _waiting(self) -> str:
        reasons = (
            "the dataset civics-lab/case-law is gated: its owner has to give the farm's account access",
            "it is estimated at 31,000 GPU-seconds, more than the 20,000 that policy allows one claim by itself: an"
            " operator has to approve it",
            "no pool has GPUs big enough: the weights take 28.8 GiB and the largest pool has 24 GiB",
        )
        claim_id = ""
        for number, reason in enumerate(reasons):
            model = MODELS[-number - 1][0]
            at = self.at - timedelta(hours=2 + 7 * number)
            story = Story(model, (LAW, MATHS, CAPITALS)[number], None, 0.64, 0.6, 90, 0)
            judged = JudgedClaim(claim_id=new_id(), claimed=0.64, tolerance=0.03)
            claim = self._claim(story, judged, at)
            claim_id = self.rows.claim(
                model, **claim, state=ClaimState.BLOCKED, reason=reason, since=at, awaits_approval=number == 1
            )
            self._event(at, "claim", claim_id, "submitted", "found on the Hub")
            self._event(at + timedelta(seconds=9), "claim", claim_id, "blocked", reason)
        unreadable = "entry 2: value is not a number"
        self.rows.claim(
            MODELS[0][0], dataset_id=None, task_id=None, value=None, state=ClaimState.REJECTED, reason=unreadable,
            since=self.at - timedelta(hours=5), created_at=self.at - timedelta(hours=5), submitter="passer-by",
        )  # fmt: skip
        return claim_id
