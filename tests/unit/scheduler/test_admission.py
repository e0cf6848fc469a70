"""Who may run, as a table of one obstacle each."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from scheduler.admission.admission import Admitted, Blocked, Refused, admit, foresee
from scheduler.admission.facts import BenchmarkFacts, ClaimFacts, ModelFacts
from scheduler.admission.placement import GIB
from specs.engines.model_size import ModelSize
from specs.hub import eval_yaml
from specs.judging.noise import MeasuredNoise, Noise
from specs.policy.engine import ModelRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeEndpoint, JudgeRules
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.policy.verification import BenchmarkRules, TaskRules, VerificationRules
from tests.support.models import size_of

SPEC = b"""\
evaluation_framework: inspect-ai
tasks:
  - id: capitals
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
  - id: judged
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: model_graded_fact, args: {model: openai/o3-mini-2025-01-31}}]
  - id: judges-itself
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: model_graded_fact}]
  - id: twice-right
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
    epochs: 3
    epoch_reducer: at_least_2
  - id: sixteen-times
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
    epochs: 16
  - id: best-of-two
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: includes}]
    epochs: 4
    epoch_reducer: pass_at_2
"""
OTHER_FRAMEWORK = b"evaluation_framework: mteb\ntasks:\n  - id: arguana\n"

CLAIM = ClaimFacts("tiny/model", "acme/capitals", "capitals", 79.5, community=False)
BENCHMARK = BenchmarkFacts(watched=True, revision="a" * 40, spec=eval_yaml.parse(SPEC), gated=False, has_percent=True)


def sized(file_bytes: int) -> ModelSize:
    return ModelSize.of_files(file_bytes, "it has no config.json")


MODEL = ModelFacts(weights_sha256="b" * 64, size=sized(GIB), gated=False)
POLICY = Policy(pools=(PoolRules(name="small", memory_gib=8), PoolRules(name="big", memory_gib=80, gpus=2)))


def ask(
    claim: ClaimFacts = CLAIM,
    benchmark: BenchmarkFacts = BENCHMARK,
    model: ModelFacts = MODEL,
    policy: Policy = POLICY,
    *,
    has_token: bool = False,
) -> Admitted | Blocked | Refused:
    return admit(claim, benchmark, model, policy, has_token=has_token)


def test_a_sound_claim_runs_on_the_smallest_pool_that_fits() -> None:
    answer = ask()
    assert isinstance(answer, Admitted)
    assert (answer.pool.name, answer.settings.gpus, answer.rules.claimed) == ("small", 1, 0.795)
    assert (answer.rules.scale, answer.rules.scale_source) == ("percent", "leaderboard")


def test_a_larger_model_gets_a_larger_pool() -> None:
    answer = ask(model=replace(MODEL, size=sized(100 * GIB)))
    assert isinstance(answer, Admitted)
    assert (answer.pool.name, answer.settings.gpus) == ("big", 2)


@pytest.mark.parametrize(
    ("claim", "benchmark", "model", "words"),
    [
        (CLAIM, replace(BENCHMARK, watched=False, revision=None), MODEL, ["not among the benchmarks"]),
        (CLAIM, replace(BENCHMARK, spec=None), MODEL, ["no eval.yaml"]),
        (CLAIM, replace(BENCHMARK, spec=eval_yaml.parse(OTHER_FRAMEWORK)), MODEL, ["mteb"]),
        (CLAIM, replace(BENCHMARK, spec=eval_yaml.parse(b"tasks: 3")), MODEL, ["cannot be run", "tasks"]),
        (
            replace(CLAIM, task_id="default"),
            BENCHMARK,
            MODEL,
            ["'default'", "capitals, judged, judges-itself, twice-right"],
        ),
        (replace(CLAIM, task_id=None), BENCHMARK, MODEL, ["names no task", "capitals"]),
        (CLAIM, BENCHMARK, replace(MODEL, size=None), ["safetensors"]),
        (CLAIM, BENCHMARK, replace(MODEL, size=sized(800 * GIB)), ["962 GiB", "big", "160 GiB"]),
        (replace(CLAIM, value=120.0), BENCHMARK, MODEL, ["120", "percent"]),
    ],
)
def test_what_never_runs_is_refused_with_a_reason(
    claim: ClaimFacts, benchmark: BenchmarkFacts, model: ModelFacts, words: list[str]
) -> None:
    answer = ask(claim, benchmark, model)
    assert isinstance(answer, Refused)
    assert all(word in answer.reason for word in words), answer.reason


def test_a_percentage_where_the_leaderboard_has_fractions_or_nobody_waits_and_is_final_where_policy_says_so() -> None:
    # The first who claims anything may be planned before the leaderboard lists it.
    silent = replace(BENCHMARK, has_percent=False)
    answer = ask(benchmark=silent)
    assert isinstance(answer, Blocked)
    assert "79.5 looks like a percentage" in answer.reason
    assert foresee(CLAIM, silent, POLICY) is None
    assert isinstance(ask(benchmark=BENCHMARK), Admitted)
    fractions = POLICY.model_copy(update={"benchmarks": {"acme/capitals": BenchmarkRules(scale="fraction")}})
    assert isinstance(ask(policy=fractions), Refused)
    assert isinstance(ask(replace(CLAIM, value=120.0), silent), Refused), "on neither scale"


@pytest.mark.parametrize(
    ("gated", "unlisted", "words"),
    [
        (True, False, "must accept its terms"),
        (False, False, "could not be read yet"),
        (True, True, "to be listed again"),
    ],
)
def test_a_claim_on_a_benchmark_that_cannot_be_read_now_waits(gated: bool, unlisted: bool, words: str) -> None:
    unread = replace(BENCHMARK, revision=None, spec=None, gated=gated, unlisted=unlisted)
    answer = ask(benchmark=unread, has_token=True)
    assert isinstance(answer, Blocked)
    assert words in answer.reason
    assert foresee(CLAIM, unread, POLICY) is None


def test_a_gated_dataset_blocks_until_there_is_a_token() -> None:
    gated = replace(BENCHMARK, gated=True)
    answer = ask(benchmark=gated)
    assert isinstance(answer, Blocked)
    assert "acme/capitals is gated" in answer.reason
    assert "operator" in answer.reason
    assert isinstance(ask(benchmark=gated, has_token=True), Admitted)


@pytest.mark.parametrize("reducer", ["at_least_2", "pass_at_2", "max", "mode", "median", "mean", None])
@pytest.mark.parametrize("epochs", [None, 1, 2, 3, 4])
def test_epochs_by_policy_that_make_another_score_of_a_benchmark_are_the_operators_to_change(
    reducer: str | None, epochs: int | None
) -> None:
    said = f"epoch_reducer: {reducer}".encode() if reducer else b""
    spec = eval_yaml.parse(SPEC.replace(b"epoch_reducer: at_least_2", said))
    policy = POLICY.model_copy(update={"verification": VerificationRules(epochs=epochs)})
    answer = ask(replace(CLAIM, task_id="twice-right"), replace(BENCHMARK, spec=spec), policy=policy)
    if epochs in (None, 3) or reducer in ("mean", None):
        assert isinstance(answer, Admitted)
        assert answer.epochs == (epochs or 3)
    elif reducer != "pass_at_2":
        assert isinstance(answer, Blocked)
        assert f"by {reducer} of 3 epochs, and the operator's policy has it run {epochs}" in answer.reason
        assert "policy must say `epochs: 3` of it" in answer.reason
    elif epochs == 1:
        assert isinstance(answer, Blocked)
        assert "pass_at_2, which needs 2 epochs, and the operator's policy has it run 1" in answer.reason
    else:
        assert isinstance(answer, Admitted), "of more or fewer epochs it is the same share"


def test_a_named_judge_blocks_until_policy_has_an_endpoint_for_it() -> None:
    claim = replace(CLAIM, task_id="judged")
    answer = ask(claim)
    assert isinstance(answer, Blocked)
    assert "needs judge openai/o3-mini-2025-01-31" in answer.reason
    endpoint = JudgeEndpoint(base_url="http://judge.example/v1", model="judge-7b")
    policy = POLICY.model_copy(update={"judges": JudgeRules(endpoints={"openai/o3-mini-2025-01-31": endpoint})})
    answer = ask(claim, policy=policy)
    assert isinstance(answer, Admitted)
    assert answer.settings.judges == {"openai/o3-mini-2025-01-31": endpoint}


def test_a_model_judges_itself_only_where_policy_allows() -> None:
    claim = replace(CLAIM, task_id="judges-itself")
    assert isinstance(ask(claim), Admitted)
    strict = POLICY.model_copy(update={"judges": JudgeRules(allow_self=False)})
    assert isinstance(ask(claim, policy=strict), Blocked)


def test_the_scale_is_the_benchmarks_never_the_claims() -> None:
    fraction = ask(replace(CLAIM, value=0.795), replace(BENCHMARK, has_percent=False))
    percent = ask(replace(CLAIM, value=0.795))
    assert isinstance(fraction, Admitted)
    assert isinstance(percent, Admitted)
    assert fraction.rules.claimed == 0.795
    assert percent.rules.claimed == pytest.approx(0.00795)
    ruled = POLICY.model_copy(update={"benchmarks": {"acme/capitals": BenchmarkRules(scale="fraction")}})
    by_policy = ask(replace(CLAIM, value=0.795), policy=ruled)
    assert isinstance(by_policy, Admitted)
    assert (by_policy.rules.claimed, by_policy.rules.scale_source) == (0.795, "policy")


def of_spread(spread: float) -> MeasuredNoise:
    """Of runs that are moved as a whole, and so by as much whatever they score, up to what coins do."""
    noise = Noise(
        pairs=5,
        comparisons=5,
        models=5,
        samples=5000,
        mean_difference=0.0,
        mean_square=0.0,
        mean_square_bound=0.0,
        coins_mean_square=0.5,
        shift_variance=spread**2,
    )
    return MeasuredNoise(noise, 1000, "5 pairs of runs")


@pytest.mark.parametrize(
    ("tolerance", "spread", "expected"),
    [
        ("measured", 0.01, (pytest.approx(0.0196), "measured")),
        ("measured", 0.001, (0.01, "measured")),
        # Two runs of coins: 1.96 √(2 · 0.795 · 0.205 / 1000).
        ("measured", 0.9, (pytest.approx(0.0354, abs=1e-4), "measured")),
        ("measured", None, (None, "chance")),
        (0.05, 0.01, (0.05, "policy")),
        (None, 0.01, (None, "chance")),
    ],
)
def test_the_tolerance_is_the_measured_one_where_policy_says_so_and_enough_is_known(
    tolerance: float | Literal["measured"] | None, spread: float | None, expected: object
) -> None:
    policy = POLICY.model_copy(update={"benchmarks": {"acme/capitals": BenchmarkRules(tolerance=tolerance)}})
    answer = ask(benchmark=replace(BENCHMARK, noise=of_spread(spread) if spread is not None else None), policy=policy)
    assert isinstance(answer, Admitted)
    assert (answer.rules.tolerance, answer.rules.tolerance_source) == expected
    source = "5 pairs of runs" if spread is not None else None
    assert answer.rules.spread == (None if spread is None else pytest.approx(min(spread, 0.01806), abs=1e-5))
    assert answer.rules.spread_source == source


@pytest.mark.parametrize(
    ("task", "epochs", "known"),
    [
        ("capitals", None, True),
        ("capitals", 1, True),
        ("capitals", 4, False),
        # Sixteen by the benchmark itself: its author may have run it once all the same.
        ("sixteen-times", None, False),
        ("sixteen-times", 1, True),
        ("sixteen-times", 4, False),
        ("best-of-two", None, False),
        ("best-of-two", 2, True),
        # Of another number it would be another score.
        ("twice-right", None, True),
    ],
)
def test_what_runs_of_more_epochs_differ_by_says_nothing_of_claims(task: str, epochs: int | None, known: bool) -> None:
    policy = Policy(verification=VerificationRules(tolerance="measured", epochs=epochs))
    answer = ask(replace(CLAIM, task_id=task), replace(BENCHMARK, noise=of_spread(0.02)), policy=policy)
    assert isinstance(answer, Admitted)
    assert (answer.rules.spread is not None) == known
    assert answer.rules.tolerance_source == ("measured" if known else "chance")


def test_a_score_with_tools_is_not_held_against_a_run_without() -> None:
    answer = ask(claim=replace(CLAIM, with_tools=True))
    assert isinstance(answer, Refused)
    assert "the claim's notes say that the model had tools" in answer.reason
    assert 'write "no tools"' in answer.reason


def test_claims_share_a_run_unless_something_that_matters_differs() -> None:
    def key(answer: Admitted | Blocked | Refused) -> str:
        assert isinstance(answer, Admitted)
        return answer.key

    same = key(ask())
    assert key(ask(replace(CLAIM, value=12.0, community=True))) == same
    assert key(ask(benchmark=replace(BENCHMARK, revision="c" * 40))) != same
    assert key(ask(model=replace(MODEL, weights_sha256="d" * 64))) != same
    limited = Policy(pools=POLICY.pools, benchmarks={"acme/capitals": BenchmarkRules(sample_limit=10)})
    assert key(ask(policy=limited)) != same
    tolerant = Policy(pools=POLICY.pools, benchmarks={"acme/capitals": BenchmarkRules(tolerance=0.2)})
    assert key(ask(policy=tolerant)) == same, "tolerance judges a run, it does not make another"


def test_narrow_rules_win_over_wide_ones() -> None:
    policy = Policy(
        benchmarks={
            "acme/capitals": BenchmarkRules(
                tolerance=0.05, sample_limit=100, tasks={"capitals": TaskRules(sample_limit=10)}
            )
        }
    )
    rules = policy.rules_for("acme/capitals", "capitals")
    assert (rules.tolerance, rules.sample_limit) == (0.05, 10)
    assert policy.rules_for("acme/other", "capitals").sample_limit is None


def test_how_a_claim_will_be_judged_is_foreseen_whatever_blocks_it() -> None:
    sizes = {"default": {"test": 198, "train": 1000}, "main": {"test": 7}}
    gated = replace(BENCHMARK, gated=True, sizes=sizes)
    assert isinstance(ask(benchmark=gated), Blocked)
    found = foresee(CLAIM, gated, POLICY)
    assert found is not None
    assert (found.claimed, found.card_samples, found.epochs, found.tolerance) == (0.795, 198, 1, None)
    assert (found.dataset_revision, found.task_id) == ("a" * 40, "capitals")
    run = ask()
    assert isinstance(run, Admitted)
    # What was fixed for the run counts: only then it is known which noise is its own.
    fixed = foresee(CLAIM, BENCHMARK, POLICY, run.rules.model_copy(update={"tolerance": 0.04, "spread": 0.02}))
    assert fixed is not None
    assert (fixed.tolerance, fixed.spread) == (0.04, 0.02)
    without_card = foresee(CLAIM, BENCHMARK, POLICY)
    assert without_card is not None
    assert without_card.card_samples is None


def test_epochs_are_policys_before_the_specs() -> None:
    text = SPEC.replace(b"- id: capitals\n", b"- id: capitals\n    epochs: 3\n    split: train\n")
    benchmark = replace(BENCHMARK, spec=eval_yaml.parse(text), sizes={"default": {"train": 1000}})
    of_spec = foresee(CLAIM, benchmark, POLICY)
    policy = Policy(benchmarks={"acme/capitals": BenchmarkRules(epochs=5, tolerance=0.03)})
    of_policy = foresee(CLAIM, benchmark, policy)
    assert of_spec is not None
    assert of_policy is not None
    assert (of_spec.epochs, of_spec.card_samples, of_policy.epochs, of_policy.tolerance) == (3, 1000, 5, 0.03)


def test_greedy_epochs_are_foreseen_to_repeat() -> None:
    greedy = Policy(verification=VerificationRules(generation=GenerationSettings(temperature=0.0)))
    found = [foresee(replace(CLAIM, task_id="sixteen-times"), BENCHMARK, policy) for policy in (POLICY, greedy)]
    assert [each is not None and each.epochs_repeat for each in found] == [False, True]


@pytest.mark.parametrize(
    ("claim", "benchmark"),
    [
        (CLAIM, replace(BENCHMARK, spec=None)),
        (CLAIM, replace(BENCHMARK, spec=eval_yaml.parse(OTHER_FRAMEWORK))),
        (replace(CLAIM, task_id="default"), BENCHMARK),
        (replace(CLAIM, value=795.0), BENCHMARK),
    ],
)
def test_of_a_claim_that_will_never_be_run_nothing_is_foreseen(claim: ClaimFacts, benchmark: BenchmarkFacts) -> None:
    assert foresee(claim, benchmark, POLICY) is None


def test_an_engine_that_short_answers_need_less_context_of_is_started_with_less() -> None:
    long = size_of("Meta-Llama-3-8B")
    assert long.config is not None
    config = long.config.model_copy(update={"context_tokens": 131_072})
    model = replace(MODEL, size=long.model_copy(update={"config": config}))
    pools = (PoolRules(name="small", memory_gib=24), PoolRules(name="big", memory_gib=80))
    brief = GenerationSettings(max_tokens=1000)
    policy = Policy(pools=pools, verification=VerificationRules(generation=brief, prompt_tokens=1000))
    answer = ask(model=model, policy=policy)
    assert isinstance(answer, Admitted)
    assert (answer.pool.name, answer.settings.engine.max_model_len) == ("small", 2000)
    open_end = ask(model=model, policy=Policy(pools=pools))
    assert isinstance(open_end, Admitted)
    assert (open_end.pool.name, open_end.settings.engine.max_model_len) == ("big", None)


@pytest.mark.parametrize(
    ("solvers", "limit"),
    [
        ("[{name: generate, args: {max_tokens: 8000}}, {name: self_critique}]", 8000),
        ("[{name: generate, args: {max_tokens: 10}}, {name: self_critique}]", 1000),
        ("[{name: generate}, {name: generate, args: {max_tokens: 10}}]", 1000),
    ],
)
def test_room_is_made_for_the_longest_of_several_turns(solvers: str, limit: int) -> None:
    content = SPEC.replace(b"[{name: generate}]", solvers.encode())
    rules = VerificationRules(generation=GenerationSettings(max_tokens=1000))
    policy = POLICY.model_copy(update={"verification": rules})
    answer = ask(benchmark=replace(BENCHMARK, spec=eval_yaml.parse(content)), policy=policy)
    assert isinstance(answer, Admitted)
    assert answer.max_tokens == limit


def test_gpus_that_are_merely_held_make_no_other_reproduction() -> None:
    two, eight = (
        ask(
            model=replace(MODEL, size=size_of("Meta-Llama-3-8B")),
            policy=Policy(pools=(PoolRules(name="p", gpus=n, memory_gib=80),)),
        )
        for n in (2, 8)
    )
    assert isinstance(two, Admitted)
    assert isinstance(eight, Admitted)
    assert (two.settings.gpus, two.settings.held_gpus) == (1, 2)
    assert (eight.settings.gpus, eight.settings.held_gpus) == (1, 8)
    assert two.key == eight.key


def test_policy_says_how_a_model_or_a_namespace_is_run() -> None:
    own = {
        "tiny/*": ModelRules(pool="big", dtype="float32", concurrency=4),
        "tiny/model": ModelRules(concurrency=8, max_model_len=512),
    }
    answer = ask(policy=POLICY.model_copy(update={"models": own}))
    assert isinstance(answer, Admitted)
    engine = answer.settings.engine
    assert answer.pool.name == "big"
    assert (engine.dtype, engine.concurrency, engine.max_model_len) == ("float32", 8, 512)
    other = ask(replace(CLAIM, model_id="tinier/model"), policy=POLICY.model_copy(update={"models": own}))
    assert isinstance(other, Admitted)
    assert (other.pool.name, other.settings.engine) == ("small", POLICY.engine)


def test_a_denied_model_is_told_why_and_one_of_a_denied_namespace_may_be_let_in() -> None:
    denied = {"tiny/*": ModelRules(deny="its licence forbids it"), "tiny/good": ModelRules(deny=False)}
    policy = POLICY.model_copy(update={"models": denied})
    assert ask(policy=policy) == Refused("the operator's policy does not run tiny/model: its licence forbids it")
    assert isinstance(ask(replace(CLAIM, model_id="tiny/good"), policy=policy), Admitted)
