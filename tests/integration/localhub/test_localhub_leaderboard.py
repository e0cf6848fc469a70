from __future__ import annotations

from typing import Any

import httpx2
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from huggingface_hub import CommitOperationAdd, EvalResultEntry, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import DatasetLeaderboardEntry

from deploy.localhub.errors import HubError
from deploy.localhub.names import dataset
from specs.attestation import ALGORITHM, TYPE, Attestation
from tests.support.attestations import attestation
from tests.support.localhub import RunningHub

BENCH = "acme/bench"
MODEL = "alice/tiny"


@pytest.fixture
def bench(hub: RunningHub, alice: HfApi) -> str:
    alice.create_repo(BENCH, repo_type="dataset")
    hub.local.mark_benchmark(dataset(BENCH))
    alice.create_repo(MODEL)
    return BENCH


def entry(value: float, task: str = "main", **more: Any) -> dict[str, Any]:
    return {"dataset": {"id": BENCH, "task_id": task}, "value": value, **more}


def submit(api: HfApi, content: object, *, name: str = "bench.yaml", repo: str = MODEL, **options: Any) -> None:
    text = content if isinstance(content, bytes) else yaml.safe_dump(content).encode()
    operation = CommitOperationAdd(f".eval_results/{name}", text)
    api.create_commit(repo, [operation], commit_message="Add a result", **options)


def rows(api: HfApi, **options: Any) -> list[DatasetLeaderboardEntry]:
    return api.get_dataset_leaderboard(BENCH, **options)


def test_a_benchmark_without_results_has_an_empty_leaderboard(nobody: HfApi, bench: str) -> None:
    assert rows(nobody) == []


def test_a_dataset_that_is_no_benchmark_has_none(hub: RunningHub, alice: HfApi, nobody: HfApi) -> None:
    alice.create_repo("acme/plain", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as caught:
        nobody.get_dataset_leaderboard("acme/plain")
    assert caught.value.response.status_code == 404
    assert caught.value.response.json() == {"error": "not found"}


def test_models_are_ranked_by_value(alice: HfApi, nobody: HfApi, bench: str) -> None:
    alice.create_repo("acme/other")
    source = {"url": "https://example.org/log", "name": "Log"}
    submit(alice, [entry(41.5, notes="No tools", source=source)])
    submit(alice, [entry(80)], repo="acme/other", name="x.yaml")
    first, second = rows(nobody)
    assert (first.rank, first.model_id, first.value, first.filename) == (1, "acme/other", 80, ".eval_results/x.yaml")
    assert (second.rank, second.model_id, second.value) == (2, MODEL, 41.5)
    assert (second.notes, second.source, second.verified, second.pull_request) == ("No tools", source, False, None)
    assert first.author.name == "acme"  # type: ignore[union-attr]  # the namespace is an organisation
    assert second.author.username == "alice"  # type: ignore[union-attr]  # and this one a person


def test_each_task_has_its_own_ranks(alice: HfApi, nobody: HfApi, bench: str) -> None:
    submit(alice, [entry(10, "a"), entry(20, "a"), entry(30, "b")])
    assert [(row.rank, row.value) for row in rows(nobody)] == [(1, 20), (1, 30), (2, 10)]


def test_results_of_open_pull_requests_count_until_they_are_closed(alice: HfApi, eve: HfApi, bench: str) -> None:
    submit(alice, [entry(10)])
    submit(eve, [entry(10), entry(90)], create_pr=True)
    assert [(row.value, row.pull_request) for row in rows(eve)] == [(90, 1), (10, None)]
    alice.change_discussion_status(MODEL, 1, "closed")
    assert [row.value for row in rows(eve)] == [10]
    alice.change_discussion_status(MODEL, 1, "open")
    alice.merge_pull_request(MODEL, 1)
    assert [(row.value, row.pull_request) for row in rows(eve)] == [(90, None), (10, None)]


def test_a_draft_does_not_count(eve: HfApi, bench: str) -> None:
    draft = eve.create_pull_request(MODEL, title="Work in progress")
    submit(eve, [entry(90)], revision=draft.git_reference)
    assert rows(eve) == []


def test_derived_models_are_shown_on_request(alice: HfApi, nobody: HfApi, bench: str) -> None:
    submit(alice, [entry(50)])
    card = b"---\nbase_model: acme/base\n---\n"
    alice.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=MODEL)
    assert rows(nobody) == []
    assert [row.model_id for row in rows(nobody, base_model_only=False)] == [MODEL]


def test_private_models_are_not_shown(alice: HfApi, bench: str) -> None:
    submit(alice, [entry(50)])
    alice.update_repo_settings(MODEL, private=True)
    assert rows(alice) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"- dataset: {id: acme/bench", "not readable as YAML"),
        (b"just text", "must be a list"),
        (b"[]", "at least one entry"),
        ([{"value": 1}], "[0].dataset must be a mapping"),
        ([entry(1), {"dataset": {"id": BENCH}, "value": 1}], "[1].dataset.task_id must be a text"),
        ([entry(1) | {"value": "48.3%"}], "[0].value must be a number"),
        ([entry(1) | {"value": True}], "[0].value must be a number"),
        ([entry(1) | {"value": float("nan")}], "[0].value must be a number"),
        ([entry(1) | {"value": None}], "[0].value must be a number"),
        ([entry(1, source="a log")], "[0].source must be a mapping"),
        (b"- &x {dataset: {id: acme/bench, task_id: a}, value: 1}\n- *x\n", "not readable as YAML"),
    ],
)
def test_a_malformed_file_is_on_no_leaderboard_and_shows_its_error_on_the_model(
    hub: RunningHub, alice: HfApi, bench: str, content: object, error: str
) -> None:
    submit(alice, content)
    submit(alice, [entry(5)], name="good.yaml")
    assert [row.value for row in rows(alice)] == [5]
    answer = httpx2.get(f"{hub.url}/api/models/{MODEL}", params={"expand": "evalResults"}).json()["evalResults"]
    broken, good = answer
    assert broken["filename"] == ".eval_results/bench.yaml"
    assert error in broken["error"]
    assert good == {"filename": ".eval_results/good.yaml", "verified": False, "data": entry(5)}
    assert [result.value for result in alice.model_info(MODEL, expand=["evalResults"]).eval_results or ()] == [5]


def test_the_client_reads_all_fields_of_a_models_results(alice: HfApi, eve: HfApi, bench: str) -> None:
    text = (
        "- dataset: {id: acme/bench, task_id: 'MTEB(eng, v2)', revision: abc}\n  value: 20.90\n  date: 2026-01-15\n"
        "  source: {url: https://example.org, name: Log, user: alice}\n  notes: no-tools\n  verifyToken: xyz\n"
    )
    submit(alice, text.encode())
    submit(eve, [entry(7)], name="eve.yaml", create_pr=True)
    found = alice.model_info(MODEL, expand=["evalResults"]).eval_results
    assert found is not None
    first, second = found
    assert first == EvalResultEntry(
        dataset_id=BENCH,
        task_id="MTEB(eng, v2)",
        value=20.9,
        dataset_revision="abc",
        verify_token="xyz",
        date="2026-01-15",
        source_url="https://example.org",
        source_name="Log",
        source_user="alice",
        notes="no-tools",
    )
    assert second.value == 7


def test_files_beside_the_format_are_left_alone(alice: HfApi, bench: str) -> None:
    for name in ("x.yml", "x.json", "sub/x.yaml"):
        submit(alice, [entry(1)], name=name)
    assert rows(alice) == []
    assert alice.model_info(MODEL, expand=["evalResults"]).eval_results is None


def test_a_poller_gets_304_until_a_result_changes(hub: RunningHub, alice: HfApi, bench: str) -> None:
    submit(alice, [entry(1)])
    url = f"{hub.url}/api/datasets/{BENCH}/leaderboard"
    etag = httpx2.get(url).headers["etag"]
    assert httpx2.get(url, headers={"if-none-match": etag}).status_code == 304
    submit(alice, [entry(2)])
    assert httpx2.get(url, headers={"if-none-match": etag}).json()[0]["value"] == 2


def facts(**changes: Any) -> Attestation:
    about = {"model": MODEL, "dataset": BENCH, "task": "main", "claimed_value": 41.5, "claimed": 0.415}
    return attestation(**{**about, **changes})


def public_jwk(key: Ed25519PrivateKey) -> dict[str, Any]:
    jwk = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": "k1", "use": "sig"}


def sign(key: Ed25519PrivateKey, attestation: Attestation) -> str:
    payload = attestation.model_dump(mode="json")
    return jwt.encode(payload, key, algorithm=ALGORITHM, headers={"kid": "k1", "typ": TYPE})


def test_a_token_of_a_trusted_key_about_the_entry_lights_the_mark(hub: RunningHub, alice: HfApi, bench: str) -> None:
    key = Ed25519PrivateKey.generate()
    submit(alice, [entry(41.5, verifyToken=sign(key, facts()))])
    assert [row.verified for row in rows(alice)] == [False], "no key is trusted yet"
    hub.local.trust_keys({"keys": [public_jwk(key)]})
    assert [row.verified for row in rows(alice)] == [True]
    answer = httpx2.get(f"{hub.url}/api/models/{MODEL}", params={"expand": "evalResults"}).json()["evalResults"]
    assert [item["verified"] for item in answer] == [True]


@pytest.mark.parametrize(
    "changes",
    [{"model": "alice/other"}, {"dataset": "acme/other"}, {"task": "other"}, {"claimed_value": 41.6}],
    ids=["model", "dataset", "task", "value"],
)
def test_a_token_about_something_else_does_not(
    hub: RunningHub, alice: HfApi, bench: str, changes: dict[str, Any]
) -> None:
    key = Ed25519PrivateKey.generate()
    hub.local.trust_keys({"keys": [public_jwk(key)]})
    submit(alice, [entry(41.5, verifyToken=sign(key, facts(**changes)))])
    assert [row.verified for row in rows(alice)] == [False]


def test_a_token_of_another_key_or_a_broken_one_does_not(hub: RunningHub, alice: HfApi, bench: str) -> None:
    key = Ed25519PrivateKey.generate()
    hub.local.trust_keys({"keys": [public_jwk(key)]})
    good = sign(key, facts())
    stranger = sign(Ed25519PrivateKey.generate(), facts())
    unsigned = jwt.encode(facts().model_dump(mode="json"), None, algorithm="none", headers={"kid": "k1", "typ": TYPE})  # type: ignore[arg-type]  # no key
    submit(
        alice, [entry(41.5, verifyToken=token) for token in (stranger, unsigned, good[:-6] + "AAAAAA", "x", "a.b.c")]
    )
    assert [row.verified for row in rows(alice)] == [False] * 5


def test_a_private_key_is_never_trusted(hub: RunningHub) -> None:
    key = Ed25519PrivateKey.generate()
    private = jwt.algorithms.OKPAlgorithm.to_jwk(key, as_dict=True)
    with pytest.raises(HubError, match="private"):
        hub.local.trust_keys({"keys": [private]})
