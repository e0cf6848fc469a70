"""The noise ledger: what becomes a pair, and which pairs a claim is planned with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from deploy.bench.api_rows import RUN_SETTINGS
from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.run_settings import RunSettings
from scheduler.database.tables import Claim, NoisePair, Reproduction
from scheduler.judging import noise
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.sample_order import seeded_order
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.rules import Policy
from specs.policy.verification import VerificationRules
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.rows import Rows, commit_id, measurement
from tests.support.scheduler import ControlPlane, control_plane, migrated_database

BENCHMARK, MODEL = "acme/capitals", "tiny/model"
SAMPLES = 400
Sampling = tuple[tuple[str, float, str], ...]
"""Settings by name, their values, and where they come from."""

SETTINGS = RUN_SETTINGS.model_copy(update={"gpus": 1})


databases = mostly_sqlite


class Runs:
    """Completed reproductions of one model on one task, entered in the ledger as they are added."""

    def __init__(self, folder: Path, databases: Databases) -> None:
        self.rows = Rows(migrated_database(folder, databases))
        self.same = {"weights_sha256": "c" * 64, "dataset_revision": commit_id(), "weights_bytes": 16_000_000_000}
        self.seeds = iter(range(1, 10_000))

    def complete(
        self,
        *,
        differing: float = 0.0,
        asked: int = SAMPLES,
        failed: int = 0,
        settings: RunSettings = SETTINGS,
        hardware: str = "1 × H100",
        vllm: str = "0.32.0",
        sampling: Sampling = (("temperature", 0.0, "policy"),),
        **fields: Any,
    ) -> str:
        """A run that scores samples in the order of its seed, a part of them otherwise than the other runs do."""
        seed = fields.pop("seed", None) or next(self.seeds)
        rng = np.random.default_rng(seed)
        usual = np.random.default_rng(0).random(SAMPLES) < 0.6
        scores = np.where(rng.random(SAMPLES) < differing, ~usual, usual).astype(float)
        ids = seeded_order(range(1, SAMPLES + 1), seed)[:asked]
        found: list[float | None] = [None] * failed + [float(scores[each - 1]) for each in ids[failed:]]
        plain = measurement().model_dump(mode="json")
        ran_on = {**plain["circumstances"], "seed": seed, "hardware": hardware, "versions": {"vllm": vllm}}
        for name, value, source in sampling:
            ran_on["generation"] = {**ran_on["generation"], name: value}
            ran_on["generation"]["sources"] = {**ran_on["generation"]["sources"], name: source}
        ran = {"population": SAMPLES, "sample_ids": ids, "sample_scores": found, "circumstances": ran_on}
        run = self.rows.reproduction(
            **{
                **self.same,
                "seed": seed,
                "state": ReproductionState.COMPLETED,
                "settings": settings.model_dump(mode="json"),
                "measurement": {**plain, **ran},
                **fields,
            }
        )
        self.record(run)
        return run

    def record(self, run: str) -> None:
        with self.rows.database.transaction() as session:
            noise.record(session, session.get_one(Reproduction, run))

    def pairs(self) -> list[NoisePair]:
        with self.rows.database.reading() as session:
            return list(session.scalars(select(NoisePair).order_by(NoisePair.recorded_at, NoisePair.earlier_id)))


@pytest.fixture
def runs(tmp_path: Path, databases: Databases) -> Iterator[Runs]:
    found = Runs(tmp_path, databases)
    yield found
    found.rows.database.engine.dispose()


@ON_BOTH
def test_a_run_is_entered_beside_an_earlier_one_like_it(runs: Runs) -> None:
    earlier = runs.complete(hardware="1 × A100", vllm="0.31.0")
    assert runs.pairs() == []
    later = runs.complete(differing=0.1)
    (pair,) = runs.pairs()
    assert (pair.reproduction_id, pair.earlier_id) == (later, earlier)
    assert (pair.samples, pair.population, pair.epochs) == (SAMPLES, SAMPLES, 1)
    assert 0.05 < pair.mean_square < 0.15
    assert (pair.model_class, pair.dataset_id, pair.task_id) == ("4B to 16B", "acme/capitals", "europe")
    assert (pair.engine, pair.earlier_engine) == ("0.32.0", "0.31.0")
    assert (pair.hardware, pair.earlier_hardware) == ("1 × H100", "1 × A100")


def test_entering_a_run_again_changes_nothing(runs: Runs) -> None:
    runs.complete()
    later = runs.complete(differing=0.1)
    (before,) = runs.pairs()
    runs.record(later)
    (after,) = runs.pairs()
    assert (after.recorded_at, after.mean_square) == (before.recorded_at, before.mean_square)


def test_runs_that_stopped_early_count_by_the_samples_they_share(runs: Runs) -> None:
    runs.complete(asked=200)
    runs.complete(asked=200)
    (pair,) = runs.pairs()
    assert 80 <= pair.samples <= 120


@pytest.mark.parametrize(
    "other",
    [
        {"weights_sha256": "d" * 64},
        {"dataset_revision": commit_id()},
        {"task_id": "asia"},
        {"task_id": None},
        {"seed": 77},
        {"failed": 20},
        {"asked": 60},
        {"settings": SETTINGS.model_copy(update={"epochs": 4})},
        {"settings": SETTINGS.model_copy(update={"generation": GenerationSettings(temperature=0.7)})},
        {"settings": SETTINGS.model_copy(update={"engine": EngineRules(dtype="float32")})},
        {"state": ReproductionState.FAILED},
    ],
    ids=lambda other: " ".join(map(str, other)),
)
def test_a_run_of_something_else_is_no_pair(runs: Runs, other: dict[str, Any]) -> None:
    runs.complete(**other)
    # Of 60 of 400 samples about 9 are shared with 60 others.
    runs.complete(seed=77, asked=60 if "asked" in other else SAMPLES)
    assert runs.pairs() == []


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS.model_copy(update={"alpha": 0.01, "mode": "full", "history": False}),
        SETTINGS.model_copy(update={"gpus": 4, "engine": EngineRules(concurrency=1, enforce_eager=True)}),
    ],
    ids=["how it stops", "how it is computed"],
)
def test_settings_that_change_no_answer_make_no_difference(runs: Runs, settings: RunSettings) -> None:
    runs.complete()
    runs.complete(settings=settings)
    assert len(runs.pairs()) == 1


@pytest.mark.parametrize(("temperature", "pairs"), [(0.0, 0), (0.01, 0), (0.7, 1)])
def test_a_model_that_is_greedy_by_itself_does_not_speak_for_those_that_sample(
    runs: Runs, temperature: float, pairs: int
) -> None:
    for _ in range(2):
        runs.complete(sampling=(("temperature", temperature, "generation_config"),))
    assert len(runs.pairs()) == pairs


@pytest.mark.parametrize(("name", "value", "source"), [("top_k", 1, "generation_config"), ("seed", 42, "spec")])
def test_runs_that_repeat_their_answers_for_another_reason_are_no_pair(
    runs: Runs, name: str, value: int, source: str
) -> None:
    for _ in range(2):
        runs.complete(sampling=(("temperature", 0.7, "policy"), (name, value, source)))
    assert runs.pairs() == []


def test_a_run_is_compared_with_a_few_of_the_latest_only(runs: Runs) -> None:
    made = [runs.complete() for _ in range(noise.EARLIER_RUNS + 3)]
    found = [pair.earlier_id for pair in runs.pairs() if pair.reproduction_id == made[-1]]
    assert sorted(found) == sorted(made[-1 - noise.PAIRS_OF_A_RUN : -1])


def planned(runs: Runs, **fields: Any) -> noise.Planned:
    facts: dict[str, Any] = {
        "dataset_id": "acme/capitals",
        "dataset_revision": runs.same["dataset_revision"],
        "task_id": "europe",
        "settings": SETTINGS.model_dump(mode="json"),
        "epochs": 1,
        "weights_bytes": 16_000_000_000,
        **fields,
    }
    return noise.Planned(**facts)


def measured_on(runs: Runs, **fields: Any) -> str:
    with runs.rows.database.reading() as session:
        found = noise.noise_for(session, planned(runs, **fields))
    return found.source if found else "nothing"


def test_models_of_a_class_speak_for_it_on_whatever_they_ran_and_else_models_of_any_size(runs: Runs) -> None:
    digest = {"settings_sha256": noise.settings_sha256(SETTINGS.model_dump(mode="json")), "model_class": "4B to 16B"}
    for _ in range(2):
        runs.rows.noise_pair(**digest)
    assert measured_on(runs) == "nothing"
    runs.rows.noise_pair(**{**digest, "model_class": "below 1B"})
    assert measured_on(runs) == "3 pairs of runs (models of any size)"
    runs.rows.noise_pair(**{**digest, "earlier_engine": "0.31.0", "earlier_hardware": "1 × A100"})
    assert measured_on(runs) == "3 pairs of runs (models 4B to 16B)"
    assert measured_on(runs, weights_bytes=10**12) == "4 pairs of runs (models of any size)"
    assert measured_on(runs, task_id="asia") == "nothing"
    assert measured_on(runs, epochs=4) == "nothing"
    assert measured_on(runs, settings=SETTINGS.model_copy(update={"epochs": 4}).model_dump(mode="json")) == "nothing"


def test_one_model_that_repeats_its_answers_says_nothing_of_others(runs: Runs) -> None:
    for _ in range(5):
        runs.complete()
    assert len(runs.pairs()) == 10
    assert measured_on(runs) == "nothing"


def test_a_pair_whose_score_is_not_known_is_left_out(runs: Runs) -> None:
    digest = {"settings_sha256": noise.settings_sha256(SETTINGS.model_dump(mode="json"))}
    for score in (None, 0.5, 0.5, 0.5):
        runs.rows.noise_pair(**digest, mean_score=score)
    assert measured_on(runs) == "3 pairs of runs (models of any size)"


def test_the_spread_is_that_of_as_many_samples_as_the_task_has(runs: Runs) -> None:
    for model in "abc":
        for _ in range(3):
            runs.complete(differing=0.1, asked=300, weights_sha256=model * 64, model_id=f"{model}/model")
    with runs.rows.database.reading() as session:
        found = noise.noise_for(session, planned(runs))
        kept = noise.noise_of_rows(noise.latest_pairs(session, "acme/capitals", "europe"))
    assert found is not None
    assert kept is not None
    assert found.spread(0.6) == kept.spread(SAMPLES, 0.6)
    # Two scores of a sample differ where one of two runs, or neither alone, took it otherwise: 2 · 0.1 · 0.9.
    assert kept.spread(SAMPLES) == pytest.approx((0.18 / SAMPLES) ** 0.5, rel=0.15)


@pytest.mark.parametrize("same", [{"weights_sha256": "d" * 64}, {"model_id": "one/model"}], ids=["weights", "author"])
def test_a_model_that_is_run_again_and_again_does_not_speak_for_all_others(runs: Runs, same: dict[str, str]) -> None:
    for _ in range(3):
        runs.rows.noise_pair(mean_square=0.02)
    for _ in range(50):
        runs.rows.noise_pair(**same, mean_square=0.5)
    with runs.rows.database.reading() as session:
        found = noise.noise_of_rows(noise.latest_pairs(session, "acme/capitals", "europe"))
    assert found is not None
    assert found.pairs == 3 + noise.PAIRS_OF_ONE_AUTHOR


def test_one_author_of_many_models_says_nothing_of_others(runs: Runs) -> None:
    digest = {"settings_sha256": noise.settings_sha256(SETTINGS.model_dump(mode="json"))}
    for number in range(5):
        runs.rows.noise_pair(**digest, model_id=f"one/model-{number}")
    runs.rows.noise_pair(**digest, model_id="another/model")
    assert measured_on(runs) == "nothing"
    runs.rows.noise_pair(**digest, model_id="a-third/model")
    assert measured_on(runs) == "7 pairs of runs (models of any size)"


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    policy = Policy(verification=VerificationRules(tolerance="measured"))
    with control_plane(tmp_path, databases, policy) as plane:
        yield plane


def settings_planned(farm: ControlPlane) -> dict[str, Any]:
    with farm.database.reading() as session:
        return dict(session.scalars(select(Reproduction.settings).limit(1)).one())


def claim_of(farm: ControlPlane, model_id: str) -> Claim:
    return next(claim for claim in farm.claims() if claim.model_id == model_id)


def test_a_claim_is_planned_with_the_measured_tolerance_and_says_so(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 50.0))
    farm.scan()
    farm.plan()
    first = claim_of(farm, MODEL)
    before = JudgingRules.model_validate(first.rules, strict=False)
    assert (before.tolerance, before.tolerance_source, before.spread) == (None, "chance", None)
    assert "tolerance" not in first.reason

    rows = Rows(farm.database)
    digest = noise.settings_sha256(settings_planned(farm))
    for _ in range(5):
        rows.noise_pair(task_id="capitals", settings_sha256=digest, mean_square=0.1)
    submit(hub, add_model(hub, "other/model", b"other"), entry(BENCHMARK, 50.0))
    farm.scan()
    farm.plan()
    claim = claim_of(farm, "other/model")
    after = JudgingRules.model_validate(claim.rules, strict=False)
    assert claim.state == ClaimState.PLANNED
    assert after.tolerance_source == "measured"
    assert after.spread is not None
    assert after.tolerance is not None
    assert after.tolerance == pytest.approx(1.96 * after.spread)
    # √(0.1 / 300) = 0.0183, for a claim of the pairs' score; the bound on 1,500 samples is an eighth of 0.1 higher.
    assert after.spread == pytest.approx(0.0194, abs=0.0003)
    words = f"tolerance {100 * after.tolerance:.2f} points, measured on 5 pairs of runs (models below 1B)"
    assert words in claim.reason
    assert JudgingRules.model_validate(claim_of(farm, MODEL).rules, strict=False) == before, "what was fixed stays"


@ON_BOTH
def test_without_the_policy_the_spread_is_known_and_the_tolerance_left_alone(farm: ControlPlane) -> None:
    farm.policy = Policy()
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 50.0))
    farm.scan()
    farm.plan()
    rows = Rows(farm.database)
    for _ in range(5):
        rows.noise_pair(task_id="capitals", settings_sha256=noise.settings_sha256(settings_planned(farm)))
    submit(hub, add_model(hub, "other/model", b"other"), entry(BENCHMARK, 50.0))
    farm.scan()
    farm.plan()
    claim = claim_of(farm, "other/model")
    rules = JudgingRules.model_validate(claim.rules, strict=False)
    assert (rules.tolerance, rules.tolerance_source) == (None, "chance")
    assert rules.spread is not None
    assert "tolerance" not in claim.reason
