"""A verdict that no longer describes what the Hub holds is called stale, and verified again where policy wants that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.admission.priorities import PERIODIC_PRIORITY
from scheduler.database.tables import Badge, Claim, Model, StaleWalk, VerdictRow, new_id, now
from scheduler.requests.repeating import repeat_stale
from scheduler.state_machine import ClaimState
from scheduler.watch.stale_walks import LASTING
from scheduler.watch.staleness import changed_since, mark_stale
from specs.judging.verdict import Outcome
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import Policy
from specs.policy.verification import BenchmarkRules, Scale
from tests.support.databases import SQLITE, Databases
from tests.support.deciding import complete
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, control_plane, control_plane_like

BENCHMARK = RepoName(RepoType.DATASET, "acme/bench")
MODEL = RepoName(RepoType.MODEL, "tiny/model")
NEVER = ReverifyRules()
ON_CHANGE = ReverifyRules(on_change=True)


@pytest.fixture
def farm(on_sqlite: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """On SQLite; the tests whose queries are the point take `either`."""
    with control_plane_like(on_sqlite, tmp_path) as plane:
        yield plane


@pytest.fixture
def either(on_each: Path, tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane_like(on_each, tmp_path, databases) as plane:
        yield plane


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decided(tmp_path_factory.mktemp("decided"), SQLITE)


@pytest.fixture(scope="module")
def on_each(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    return decided(tmp_path_factory.mktemp("decided"), databases)


def decided(folder: Path, databases: Databases) -> Path:
    """A farm with a verified claim, one that pins the benchmark's revision, and one that did not match."""
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, BENCHMARK.id)
        model = add_model(hub, MODEL.id)
        pinned = plane.hub.benchmark(BENCHMARK.id).revision
        entry_of_pinned = f"- dataset: {{id: acme/bench, task_id: capitals, revision: {pinned}}}\n  value: 51\n"
        submit(
            hub, model, entry(BENCHMARK.id, 50) + entry_of_pinned.replace("value: 51\n", "value: 51\n  notes: cot\n")
        )
        submit(hub, model, entry(BENCHMARK.id, 90), name="more.yaml")
        plane.scan()
        plane.plan()
        complete(plane, 100)
        with plane.database.transaction() as session:
            for row in session.scalars(select(VerdictRow).where(VerdictRow.outcome == Outcome.VERIFIED)):
                session.add(Badge(claim_id=row.claim_id, badge_id=new_id(), token="t", key_id="k"))
    return folder


def stale(farm: ControlPlane, rules: ReverifyRules = NEVER, scale: Scale | None = None) -> dict[float | None, str]:
    """Why claims are stale, by their value, where policy has the benchmark's `scale`."""
    mark_stale(farm.database, Policy(reverify=rules, benchmarks={BENCHMARK.id: BenchmarkRules(scale=scale)}))
    return {claim.value: claim.stale_reason for claim in farm.claims() if claim.live and claim.stale_reason}


def commit(farm: ControlPlane, repo: RepoName, files: dict[str, bytes]) -> None:
    farm.served.local.commit(repo, dict(files), CommitText("A change", repo.namespace))
    farm.scan()
    with farm.database.transaction() as session:
        session.execute(update(Model).values(looked_at=None))
    farm.scan()


def test_what_describes_the_hub_is_not_stale(farm: ControlPlane) -> None:
    assert stale(farm) == {}


def test_new_weights_make_every_verdict_stale_and_the_old_ones_make_it_current_again(either: ControlPlane) -> None:
    farm = either
    config = farm.served.local.read_file(MODEL, "config.json", "main")
    commit(farm, MODEL, {"config.json": b'{"a": 1}'})
    found = stale(farm)
    assert found == dict.fromkeys((50.0, 51.0, 90.0), "the model's files changed since")
    since = {claim.claim_id: claim.stale_since for claim in farm.claims()}
    assert stale(farm) == found
    assert {claim.claim_id: claim.stale_since for claim in farm.claims()} == since
    commit(farm, MODEL, {"config.json": config})
    assert stale(farm) == {}
    assert farm.history(farm.claims()[0].claim_id)[-2:] == ["stale", "current"]


def test_what_was_verified_is_stale_also_after_its_entry_was_taken_away(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(state=ClaimState.WITHDRAWN, live=False))
    commit(farm, MODEL, {"config.json": b'{"a": 1}'})
    mark_stale(farm.database, Policy(reverify=NEVER))
    assert {claim.value: claim.stale_reason for claim in farm.claims() if not claim.live} == {
        50.0: "the model's files changed since",
        51.0: "the model's files changed since",
        90.0: None,
    }, "what was no match is said of the weights that it was found of"


def test_a_look_at_the_hub_says_whose_claims_are_to_be_looked_at(farm: ControlPlane) -> None:
    def begun() -> set[tuple[str, str]]:
        with farm.database.reading() as session:
            walks = session.execute(select(StaleWalk.subject, StaleWalk.subject_id))
            return {walk for walk in walks if walk[0] not in LASTING}

    percentages = {("benchmark", BENCHMARK.id)}
    assert begun() == percentages, "what else was seen for the first time has no verdicts"
    mark_stale(farm.database, Policy(reverify=NEVER))
    commit(farm, MODEL, {"README.md": b"# New words"})
    assert begun() == set()
    commit(farm, MODEL, {"config.json": b'{"a": 1}'})
    commit(farm, BENCHMARK, {"README.md": b"# New words"})
    assert begun() == {("model", MODEL.id), ("benchmark", BENCHMARK.id)}
    mark_stale(farm.database, Policy(reverify=NEVER))
    assert begun() == set()


def test_a_value_that_would_be_read_as_another_score_now_is_stale_and_is_run_again_once(either: ControlPlane) -> None:
    farm, hub = either, either.served.local
    submit(
        hub,
        MODEL,
        "".join(entry(BENCHMARK.id, value, more=f"  notes: run of {value}\n") for value in (0, 0.8, 0.9)),
        name="f.yaml",
    )
    farm.scan()
    farm.plan()
    assert stale(farm) == {}
    for n in range(3):
        submit(hub, add_model(hub, f"honest{n}/model"), entry(BENCHMARK.id, 0.4))
    farm.scan()
    # 50 is no fraction, and 0 is 0.
    why = (
        "it was read as a percent, and policy or most on the benchmark's leaderboard have each score as a fraction now"
    )
    assert stale(farm) == {0.8: why, 0.9: why}
    assert stale(farm, scale="percent") == {}, "the operator's answer to a leaderboard that turned"
    assert stale(farm, scale="fraction") == {0.8: why, 0.9: why}
    assert repeat_stale(farm.database, ON_CHANGE) == 2
    farm.plan()
    complete(farm, 100)
    assert stale(farm) == {}
    assert repeat_stale(farm.database, ON_CHANGE) == 0


def test_documentation_makes_nothing_stale(farm: ControlPlane) -> None:
    commit(farm, MODEL, {"README.md": b"# New words"})
    commit(farm, BENCHMARK, {"README.md": b"# New words"})
    assert stale(farm) == {}
    with farm.database.reading() as session:
        assert [changed_since(session, claim) for claim in farm.claims()] == [None] * 3


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("eval.yaml", EVAL_YAML.replace("includes", "match")),
        ("test.jsonl", '{"question": "q", "answer": "b"}\n'),
        ("README.md", "---\nconfigs:\n- config_name: default\n  data_files: other.jsonl\n---\n# Other questions\n"),
        # Wherever a card may have `datasets` read questions from.
        (".eval_results/test.jsonl", '{"question": "q", "answer": "b"}\n'),
        ("test.jsonl.md", '{"question": "q", "answer": "b"}\n'),
        ("data/README.md", "q"),
    ],
)
def test_a_changed_benchmark_makes_those_stale_that_pin_no_revision(farm: ControlPlane, file: str, text: str) -> None:
    commit(farm, BENCHMARK, {file: text.encode()})
    found = stale(farm)
    assert set(found) == {50.0, 90.0}
    assert "the benchmark changed since: it is at" in found[50.0]


@pytest.mark.parametrize("content", [None, b'{"cardData":' * 100_000], ids=["too large", "too deep"])
def test_a_card_that_is_not_read_to_its_end_may_name_other_questions(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    read = farm.hub._read

    def read_no_card(url: str, most: int, asked: dict[str, str]) -> bytes | None:
        return content if asked == {"expand": "cardData"} else read(url, most, asked)

    monkeypatch.setattr(farm.hub, "_read", read_no_card)
    commit(farm, BENCHMARK, {"README.md": b"# Words"})
    assert set(stale(farm)) == {50.0, 90.0}


@pytest.mark.parametrize("head", ["main", "refs/heads/main"])
def test_whoever_names_the_head_of_a_benchmark_pins_no_revision(farm: ControlPlane, head: str) -> None:
    text = "".join(
        f"- dataset: {{id: acme/bench, task_id: capitals, revision: {head}}}\n  value: {value}\n" for value in (52, 92)
    )
    submit(farm.served.local, MODEL, text.replace("92\n", "92\n  notes: cot\n"), name="head.yaml")
    farm.scan()
    farm.plan()
    with farm.database.reading() as session:
        (mismatch,) = (claim for claim in farm.claims() if claim.value == 92)
        assert "another dataset revision" in str(
            session.get_one(VerdictRow, mismatch.claim_id).verdict["likely_reasons"]
        )
    commit(farm, BENCHMARK, {"eval.yaml": EVAL_YAML.replace("includes", "match").encode()})
    assert set(stale(farm)) == {50.0, 52.0, 90.0, 92.0}


def test_an_engine_below_policys_minimum_and_one_that_is_not_named(either: ControlPlane) -> None:
    farm = either
    assert stale(farm, ReverifyRules(minimum_versions={"vllm": "0.32.0"})) == {}
    assert (
        "with vllm 0.32.0, and policy asks for 0.33"
        in stale(farm, ReverifyRules(minimum_versions={"vllm": "0.33"}))[90.0]
    )
    assert "does not say which version of torch" in stale(farm, ReverifyRules(minimum_versions={"torch": "2"}))[50.0]
    assert stale(farm) == {}


def test_a_badge_of_some_age_is_stale_and_a_mismatch_has_none(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.execute(update(Badge).values(signed_at=now() - timedelta(days=31)))
    assert set(stale(farm, ReverifyRules(after_days=30))) == {50.0, 51.0}
    assert stale(farm, ReverifyRules(after_days=32)) == {}


def test_the_farm_verifies_old_badges_again_a_few_at_a_time_and_after_all_others(either: ControlPlane) -> None:
    farm = either
    rules = ReverifyRules(after_days=30, at_once=1)
    with farm.database.transaction() as session:
        session.execute(update(Badge).values(signed_at=now() - timedelta(days=31)))
    mark_stale(farm.database, Policy(reverify=rules))
    assert (repeat_stale(farm.database, rules), repeat_stale(farm.database, rules)) == (1, 0)
    (again,) = [claim for claim in farm.claims() if claim.supersedes]
    assert (again.state, again.asked_priority) == (ClaimState.SUBMITTED, PERIODIC_PRIORITY)
    assert farm.history(again.claim_id) == ["submitted"]
    farm.plan()
    complete(farm, 100)
    assert repeat_stale(farm.database, rules) == 1, "the other one, now that there is room"
    assert repeat_stale(farm.database, ReverifyRules(after_days=30)) == 0


def test_changes_are_followed_only_where_policy_says_so_and_not_more_often_than_it_says(farm: ControlPlane) -> None:
    commit(farm, MODEL, {"config.json": b'{"a": 1}'})
    mark_stale(farm.database, Policy(reverify=ON_CHANGE))
    assert repeat_stale(farm.database, NEVER) == 0
    assert repeat_stale(farm.database, ReverifyRules(after_days=30)) == 0, "none of them is old"
    assert repeat_stale(farm.database, ON_CHANGE) == 3
    farm.plan()
    complete(farm, 100)
    assert stale(farm, ON_CHANGE) == {}
    commit(farm, MODEL, {"config.json": b'{"a": 2}'})
    assert len(stale(farm, ON_CHANGE)) == 3
    assert repeat_stale(farm.database, ON_CHANGE) == 0, "not so soon"
    assert repeat_stale(farm.database, ON_CHANGE.model_copy(update={"cooldown_seconds": 0.0})) == 3
