from __future__ import annotations

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, GatedRepoError, HfHubHTTPError

from deploy.localhub.names import dataset
from tests.support.localhub import RunningHub

DATA = "acme/secret-questions"


@pytest.fixture
def gated(alice: HfApi) -> str:
    alice.create_repo(DATA, repo_type="dataset")
    alice.upload_file(path_or_fileobj=b"tasks: []", path_in_repo="eval.yaml", repo_id=DATA, repo_type="dataset")
    alice.update_repo_settings(DATA, repo_type="dataset", gated="manual")
    return DATA


def test_the_files_of_a_gated_repo_need_a_grant(hub: RunningHub, eve: HfApi, gated: str) -> None:
    with pytest.raises(GatedRepoError) as caught:
        eve.hf_hub_download(gated, "eval.yaml", repo_type="dataset")
    assert caught.value.response.status_code == 403
    assert caught.value.response.headers["x-error-code"] == "GatedRepo"
    hub.local.grant(dataset(gated), "eve")
    assert eve.hf_hub_download(gated, "eval.yaml", repo_type="dataset")


def test_somebody_who_did_not_log_in_is_asked_to(hub: RunningHub, nobody: HfApi, gated: str) -> None:
    with pytest.raises(GatedRepoError) as caught:
        nobody.hf_hub_download(gated, "eval.yaml", repo_type="dataset")
    assert caught.value.response.status_code == 401
    answer = httpx.get(f"{hub.url}/datasets/{gated}/resolve/main/eval.yaml")
    assert b"tasks" not in answer.content


def test_a_snapshot_of_a_gated_repo_fails_the_same_way(eve: HfApi, gated: str) -> None:
    with pytest.raises(GatedRepoError):
        eve.snapshot_download(gated, repo_type="dataset")


def test_that_it_is_gated_is_no_secret(nobody: HfApi, gated: str) -> None:
    assert nobody.dataset_info(gated).gated == "manual"
    assert nobody.dataset_info(gated, expand=["gated", "sha"]).gated == "manual"
    assert "eval.yaml" in nobody.list_repo_files(gated, repo_type="dataset")
    assert [found.id for found in nobody.list_datasets(gated=True)] == [gated]


def test_the_client_can_ask_whether_it_may(alice: HfApi, eve: HfApi, gated: str) -> None:
    alice.auth_check(gated, repo_type="dataset")
    alice.auth_check(gated, repo_type="dataset", write=True)
    with pytest.raises(GatedRepoError):
        eve.auth_check(gated, repo_type="dataset")


def test_an_owner_grants_access_through_the_client(alice: HfApi, eve: HfApi, gated: str) -> None:
    with pytest.raises(HfHubHTTPError, match="write access"):
        eve.grant_access(gated, "eve", repo_type="dataset")
    alice.grant_access(gated, "eve", repo_type="dataset")
    eve.auth_check(gated, repo_type="dataset")


def test_only_a_gated_repo_has_grants(alice: HfApi) -> None:
    alice.create_repo("acme/open")
    with pytest.raises(BadRequestError, match="not gated"):
        alice.grant_access("acme/open", "eve")
