"""Rows of a farm's database for tests that only read it. Ids are drawn anew, so that a wrong join finds nothing."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.bench.greedy import GREEDY
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import (
    Attempt,
    Badge,
    Benchmark,
    Claim,
    Event,
    Model,
    NoisePair,
    OutboxRow,
    Publication,
    Reproduction,
    Table,
    VerdictRow,
    Worker,
    new_id,
    now,
)
from scheduler.state_machine import ClaimState, ReproductionState
from specs.attestation import Attestation
from specs.judging.forecast import Foreseen
from specs.judging.verdict import Comparison, Interval, Outcome, Verdict
from specs.measurement import Circumstances, Measurement

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def commit_id() -> str:
    """A commit that no other row has."""
    return secrets.token_hex(20)


def comparison(reproduced: float = 0.415) -> Comparison:
    """A claim of 41.2 % beside what came out of 200 of 300 samples."""
    return Comparison(
        claimed=0.412,
        mode="sequential",
        reproduced=reproduced,
        standard_error=0.0348,
        tolerance=0.0557,
        alpha=0.001,
        samples_used=200,
        population=300,
        interval=Interval(low=max(0.0, reproduced - 0.05), high=min(1.0, reproduced + 0.05)),
        truncated=3,
        unparsed=0,
        failed=1,
    )


def measurement() -> Measurement:
    """A run of four samples, one of which failed."""
    return Measurement(
        scorer="match",
        score=2 / 3,
        standard_error=1 / 3,
        population=300,
        targets_sha256="a" * 64,
        sample_ids=(7, 3, "x", 1),
        sample_scores=(1.0, None, 0.0, 1.0),
        truncated=1,
        unparsed=0,
        ignored=2,
        other_scorers={"f1": 0.5},
        input_tokens=1000,
        output_tokens=50,
        started_at=BEGINNING,
        ended_at=BEGINNING + timedelta(minutes=5),
        circumstances=Circumstances(
            versions={"vllm": "0.32.0"},
            hardware="CPU x86_64, 2 cores",
            engine_arguments=("--enforce-eager",),
            generation=GREEDY.model_copy(update={"seed": 11}),
            seed=11,
            chat_template_sha256=None,
            epochs=1,
            same_prompts=True,
            judges={},
        ),
    )


def foreseen() -> Foreseen:
    """How that claim is to be judged; nobody knows on how many samples."""
    return Foreseen(
        dataset_revision=commit_id(),
        task_id="europe",
        claimed=0.412,
        tolerance=0.02,
        spread=None,
        mode="sequential",
        alpha=0.001,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
        sample_limit=None,
        epochs=1,
        history=True,
        card_samples=None,
    )


SETTINGS = {
    "engine": {},
    "gpus": 0,
    "generation": {},
    "epochs": None,
    "sample_limit": None,
    "mode": "sequential",
    "alpha": 0.001,
    "minimum_samples": 20,
    "maximum_failed_fraction": 0.02,
    "history": True,
    "allow_self_judge": True,
    "judges": {},
}
"""Of a reproduction: the `RunSettings` of scheduler/admission/run_settings.py."""


class Rows:
    """Adds rows to a migrated database; every row a minute younger than the one before."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.signer = Signer(Ed25519PrivateKey.generate())
        self._minutes = 0

    def _next_time(self) -> datetime:
        self._minutes += 1
        return BEGINNING + timedelta(minutes=self._minutes)

    def add(self, row: Table) -> None:
        """Any row."""
        with self.database.transaction() as session:
            session.merge(row)

    def benchmark(self, dataset_id: str = "acme/capitals") -> str:
        """A benchmark that is watched."""
        self.add(Benchmark(dataset_id=dataset_id, revision=commit_id(), seen_at=self._next_time()))
        return dataset_id

    def claim(self, model_id: str = "tiny/model", **fields: Any) -> str:
        """A claim, submitted unless `fields` say otherwise; returns its id."""
        self.add(Model(model_id=model_id, revision=commit_id()))
        claim_id = fields.pop("claim_id", None) or new_id()
        at = self._next_time()
        row: dict[str, Any] = {
            "slot": secrets.token_hex(32),
            "ref": "main",
            "path": ".eval_results/capitals.yaml",
            "entry": 0,
            "commit": commit_id(),
            "submitter": "alice",
            "dataset_id": "acme/capitals",
            "task_id": "europe",
            "value": 41.2,
            "state": ClaimState.SUBMITTED,
            "since": at,
            "created_at": at,
        }
        self.add(Claim(claim_id=claim_id, model_id=model_id, **{**row, **fields}))
        return claim_id

    def planned(self, model_id: str = "tiny/model", run: dict[str, Any] | None = None, **fields: Any) -> str:
        """A claim with its reproduction, queued unless `run` says otherwise; returns the claim's id."""
        self.add(Model(model_id=model_id, revision=commit_id()))
        reproduction_id = self.reproduction(model_id, **(run or {}))
        return self.claim(
            model_id,
            **{
                "state": ClaimState.PLANNED,
                "reason": f"judged by reproduction {reproduction_id}",
                "reproduction_id": reproduction_id,
                "rules": {"scale": "percent", "scale_source": "leaderboard", "claimed": 0.412, "tolerance": 0.02},
                "foreseen": foreseen().model_dump(mode="json"),
                **fields,
            },
        )

    def sendable(self, model_id: str = "tiny/model", **run: Any) -> str:
        """A claim with a reproduction that can be sent out; returns the claim's id."""
        rules = {"scale": "percent", "scale_source": "leaderboard", "claimed": 0.412, "tolerance": None}
        rules |= {"tolerance_source": "chance", "spread": None, "policy_sha256": "0" * 64}
        return self.planned(model_id, run={"settings": SETTINGS, "seed": None, **run}, rules=rules)

    def reproduction(self, model_id: str = "tiny/model", **fields: Any) -> str:
        """A reproduction, queued unless `fields` say otherwise; returns its id."""
        self.add(Model(model_id=model_id, revision=commit_id()))
        reproduction_id = new_id()
        at = self._next_time()
        row: dict[str, Any] = {
            "key": secrets.token_hex(32),
            "model_revision": commit_id(),
            "weights_sha256": secrets.token_hex(32),
            "weights_bytes": 270_000_000,
            "dataset_id": "acme/capitals",
            "dataset_revision": commit_id(),
            "task_id": "europe",
            "spec_sha256": secrets.token_hex(32),
            "settings": {},
            "seed": secrets.randbelow(2**31),
            "pool": "cpu",
            "priority": 20,
            "state": ReproductionState.QUEUED,
            "since": at,
            "created_at": at,
        }
        row |= fields
        self.add(
            Reproduction(reproduction_id=reproduction_id, model_id=model_id, **{"waits_since": row["since"], **row})
        )
        return reproduction_id

    def noise_pair(self, **fields: Any) -> None:
        """A pair of reproductions that both scored all 300 samples; of a model and an author of its own."""
        model_id = fields.pop("model_id", None) or f"{new_id()}/model"
        row: dict[str, Any] = {
            "reproduction_id": fields.pop("reproduction_id", None) or self.reproduction(model_id),
            "earlier_id": fields.pop("earlier_id", None) or self.reproduction(model_id),
            "dataset_id": "acme/capitals",
            "dataset_revision": commit_id(),
            "task_id": "europe",
            "weights_sha256": secrets.token_hex(32),
            "settings_sha256": "5" * 64,
            "epochs": 1,
            "model_class": "below 1B",
            "pool": "cpu",
            "engine": "0.32.0",
            "earlier_engine": "0.32.0",
            "hardware": "1 × H100",
            "earlier_hardware": "1 × H100",
            "population": 300,
            "samples": 300,
            "mean_difference": 0.0,
            "mean_square": 0.1,
            "mean_score": 0.5,
            "recorded_at": self._next_time(),
        }
        self.add(NoisePair(**{**row, **fields}))

    def attempt(self, reproduction_id: str, number: int, **fields: Any) -> None:
        """A try at a reproduction."""
        at = self._next_time()
        self.add(Attempt(reproduction_id=reproduction_id, number=number, batch_id=new_id(), dispatched_at=at, **fields))

    def running(self, model_id: str = "tiny/model", **fields: Any) -> str:
        """A claim whose reproduction runs its second attempt, 120 of 300 samples done; returns the claim's id."""
        claim_id = self.planned(
            model_id,
            run={"state": ReproductionState.RUNNING, "reason": "attempt 2 by w1", "attempt": 2, "worker": "w1@host"},
            **fields,
        )
        run = self.run_of(claim_id)
        self.attempt(run, 1, worker="w0@host", outcome="engine_failed", detail="the engine died", samples_done=9)
        self.attempt(run, 2, worker="w1@host", stage="running", samples_done=120, samples_total=300, score=0.405)
        return claim_id

    def run_of(self, claim_id: str) -> str:
        """The id of a claim's reproduction."""
        with self.database.reading() as session:
            return str(session.get_one(Claim, claim_id).reproduction_id)

    def decided(
        self, outcome: Outcome, model_id: str = "tiny/model", found: Comparison | None = None, **fields: Any
    ) -> str:
        """A claim with its verdict, and a completed reproduction where `found` says what was measured."""
        if found is None:
            claim_id = self.claim(model_id, **{"state": ClaimState.DECIDED, **fields})
        else:
            done = {
                "state": ReproductionState.COMPLETED,
                "attempt": 1,
                "measurement": measurement().model_dump(mode="json"),
                "evidence_sha256": secrets.token_hex(32),
                "evidence_bytes": 1234,
            }
            claim_id = self.planned(model_id, run=done, **{"state": ClaimState.DECIDED, **fields})
            self.attempt(
                self.run_of(claim_id), 1, outcome="completed", samples_done=200, samples_total=300, ended_at=BEGINNING
            )
        verdict = Verdict(outcome=outcome, reason=f"{outcome}, for a reason", comparison=found)
        self.add(
            VerdictRow(
                claim_id=claim_id,
                outcome=outcome,
                verdict=verdict.model_dump(mode="json"),
                reproduction_id=self.run_of(claim_id) if found else None,
                decided_at=self._next_time(),
            )
        )
        return claim_id

    def verified(self, model_id: str = "tiny/model", **fields: Any) -> str:
        """A verified claim with its badge; returns the claim's id."""
        claim_id = self.decided(Outcome.VERIFIED, model_id, comparison(), **fields)
        badge_id = new_id()
        self.add(
            Badge(
                claim_id=claim_id,
                badge_id=badge_id,
                token=self.token(badge_id, model_id),
                key_id=self.signer.key_id,
                signed_at=self._next_time(),
            )
        )
        return claim_id

    def token(self, badge_id: str, model_id: str) -> str:
        """A signed attestation."""
        found = comparison()
        attestation = Attestation(
            iss="http://farm.test",
            iat=int(BEGINNING.timestamp()),
            jti=badge_id,
            model=model_id,
            model_revision=commit_id(),
            dataset="acme/capitals",
            task="europe",
            dataset_revision=commit_id(),
            spec_sha256=secrets.token_hex(32),
            claimed_value=41.2,
            scale="percent",
            claimed=found.claimed,
            reproduced=0.415,
            standard_error=found.standard_error,
            samples_used=found.samples_used,
            population=found.population,
            tolerance=found.tolerance,
            mode=found.mode,
            alpha=found.alpha,
            interval=Interval(low=0.39, high=0.44),
            evidence_sha256=secrets.token_hex(32),
            evidence_url="http://farm.test/v1/evidence/x",
            policy_sha256=secrets.token_hex(32),
            versions={"vllm": "0.32.0"},
            seed=11,
        )
        return self.signer.sign(attestation)

    def worker(self, name: str, **fields: Any) -> None:
        """A worker of pool cpu that spoke lately."""
        row: dict[str, Any] = {
            "pool": "cpu",
            "state": "idle",
            "due_at": now() + timedelta(seconds=30),
            "hardware": "CPU x, 2 cores",
            "memory": [{"device": "memory", "total_bytes": 4, "free_bytes": 3}],
        }
        self.add(Worker(name=name, **{**row, **fields}))

    def publication(self, claim_id: str, **fields: Any) -> None:
        """What stands on the Hub about a claim."""
        self.add(Publication(claim_id=claim_id, **fields))

    def event(self, subject: str, subject_id: str, what: str, why: str = "because", **fields: Any) -> None:
        """A line of the record."""
        row = {"actor": "scheduler", "at": self._next_time(), **fields}
        with self.database.transaction() as session:
            session.add(Event(subject=subject, subject_id=subject_id, what=what, why=why, **row))

    def outbox(self, sent_at: datetime | None = None) -> None:
        """A message."""
        self.add(
            OutboxRow(
                message_id=new_id(), queue="control", task="t", body={}, created_at=self._next_time(), sent_at=sent_at
            )
        )
