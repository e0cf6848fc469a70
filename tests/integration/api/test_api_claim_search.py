from __future__ import annotations

from datetime import timedelta

import pytest

from scheduler.database.tables import Model
from scheduler.state_machine import ClaimState
from tests.support.api import RunningApi
from tests.support.rows import BEGINNING, commit_id


def models(api: RunningApi, **asked: object) -> list[str]:
    return [item["model"] for item in api.json("/v1/claims", **asked)["items"]]


def test_claims_are_found_by_when_they_last_changed(api: RunningApi) -> None:
    api.rows.claim("m/old")
    api.rows.claim("m/new", since=BEGINNING + timedelta(days=2), created_at=BEGINNING)
    assert models(api, since=(BEGINNING + timedelta(days=1)).isoformat()) == ["m/new"]
    assert models(api, since="2026-03-02T12:00:00") == ["m/new"]
    assert models(api, since="9999-12-31T23:59:59-12:00") == []
    assert api.get("/v1/claims", since="yesterday").status_code == 422


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("LLAMA", ["b/Llama-3"]),
        ("rivers", ["c/other"]),
        ("%", None),
        ("_%", []),
        ("a/", ["a/qwen_2"]),
        ("n_2", ["a/qwen_2"]),
    ],
)
def test_claims_are_found_by_a_part_of_a_name(api: RunningApi, part: str, found: list[str] | None) -> None:
    for name in ("acme/capitals", "acme/rivers"):
        api.rows.benchmark(name)
    api.rows.claim("a/qwen_2", dataset_id="x/capitals")
    api.rows.claim("b/Llama-3", dataset_id="x/capitals")
    api.rows.claim("c/other", dataset_id="acme/rivers", state=ClaimState.BLOCKED)
    if found is None:
        assert api.get("/v1/claims", q=part).status_code == 422
    else:
        assert models(api, q=part) == found


def test_claims_are_found_by_a_revision_of_their_models_repo(api: RunningApi) -> None:
    head, proposed, between = (commit_id() for _ in range(3))
    # The entry on main was read at an earlier commit than the one where main stands now.
    main = api.rows.claim("a/model", commit=between)
    other = api.rows.claim("a/model", ref="refs/pr/1", commit=proposed)
    api.rows.claim("b/model", commit=proposed)
    api.rows.add(Model(model_id="a/model", revision=head))

    def found(revision: str) -> list[str]:
        return [item["id"] for item in api.json("/v1/claims", model="a/model", revision=revision)["items"]]

    assert found("main") == found(head) == found(head[:9]) == found(between) == [main]
    assert found("refs/pr/1") == found(proposed) == found(proposed[:7]) == [other]
    assert found("0" * 40) == found("refs/pr/2") == []


def test_a_revision_is_one_of_a_model(api: RunningApi) -> None:
    refused = api.get("/v1/claims", revision="main")
    assert (refused.status_code, refused.json()["errors"]) == (
        422,
        ["query: a revision is one of a model's repo: name the model too"],
    )
    assert api.get("/v1/claims", model="a/model", revision="%").status_code == 422


def test_a_run_says_how_sure_its_score_is_so_far(api: RunningApi) -> None:
    run = api.json(f"/v1/claims/{api.rows.running()}")["reproduction"]
    assert run["score_interval"]["low"] == pytest.approx(0.3213, abs=1e-3)
    assert run["score_interval"]["high"] == pytest.approx(0.4943, abs=1e-3)
    waiting = api.json(f"/v1/claims/{api.rows.planned()}")["reproduction"]
    assert waiting["score_interval"] is None
