"""Made-up runs whose figures agree with one another."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime

from deploy.bench.greedy import GREEDY
from specs.attestation import Attestation
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import Population, Stopping, stopping_rule
from specs.judging.verdict import Verdict
from specs.measurement import Circumstances, Measurement
from tests.support.rows import commit_id

ENGINE = ("--dtype", "bfloat16", "--seed", "0", "--generation-config", "vllm", "--max-num-seqs", "64")


@dataclass
class Story:
    """What a claim is to be."""

    model: str
    dataset: str
    task: str | None
    claimed: float
    truth: float
    population: int
    minutes_ago: float
    community: bool = False
    truncated: int = 0


def measurement_of(
    story: Story, stopping: Stopping, between: tuple[datetime, datetime], dice: random.Random
) -> Measurement:
    """What a run of it measures that stops by itself."""
    right = round(story.truth * story.population)
    scores = [1.0] * right + [0.0] * (story.population - right)
    dice.shuffle(scores)
    population = Population(samples=story.population, epochs=1, targets_sha256="a" * 64)
    decider = SequentialDecider(stopping_rule(stopping, population))
    decider.feed(scores)
    counted = scores[: decider.seen]
    mean = sum(counted) / len(counted)
    return Measurement(
        scorer="match",
        score=mean,
        standard_error=(mean * (1 - mean) / (len(counted) - 1)) ** 0.5,
        population=story.population,
        targets_sha256="a" * 64,
        sample_ids=tuple(range(len(counted))),
        sample_scores=tuple(counted),
        truncated=story.truncated,
        unparsed=story.truncated // 2,
        ignored=9,
        other_scorers={},
        input_tokens=184 * len(counted),
        output_tokens=61 * len(counted),
        started_at=between[0],
        ended_at=between[1],
        circumstances=circumstances(dice.randrange(2**31)),
    )


def circumstances(seed: int) -> Circumstances:
    """Greedy decoding on one GPU."""
    sampling = GREEDY.model_copy(
        update={
            "max_tokens": 1024,
            "sources": {"temperature": "policy", "max_tokens": "policy", "top_p": "vllm_default"},
        }
    )
    return Circumstances(
        versions={"vllm": "0.32.0", "torch": "2.13.0", "lighteval": "0.13.0", "inspect_ai": "0.3.285"},
        hardware="1 × NVIDIA A100-SXM4-80GB",
        engine_arguments=ENGINE,
        generation=sampling,
        seed=seed,
        chat_template_sha256="c" * 64,
        epochs=1,
        judges={},
    )


def attestation(
    badge_id: str, story: Story, measured: Measurement, verdict: Verdict, signed_at: int, revision: str
) -> Attestation:
    """What the badge of a verified verdict says."""
    found = verdict.comparison
    assert found is not None
    assert found.reproduced is not None
    assert found.interval is not None
    value = round(100 * story.claimed, 2)
    return Attestation(
        iss="http://farm.test",
        iat=signed_at,
        jti=badge_id,
        model=story.model,
        model_revision=commit_id(),
        dataset=story.dataset,
        task=story.task,
        dataset_revision=revision,
        spec_sha256="d" * 64,
        claimed_value=value,
        scale="percent",
        claimed=value / 100,
        reproduced=found.reproduced,
        standard_error=found.standard_error,
        samples_used=found.samples_used,
        population=found.population,
        tolerance=found.tolerance,
        mode="sequential",
        alpha=found.alpha,
        interval=found.interval,
        evidence_sha256="e" * 64,
        evidence_url="http://farm.test/v1/evidence/" + "e" * 64,
        policy_sha256="0" * 64,
        versions=measured.circumstances.versions,
        seed=measured.circumstances.seed,
    )
