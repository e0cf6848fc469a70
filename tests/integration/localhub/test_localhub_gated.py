from __future__ import annotations

import json

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, RepoFile
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
    answer = httpx2.get(f"{hub.url}/datasets/{gated}/resolve/main/eval.yaml")
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


def test_knowing_a_files_sha256_is_not_having_it(hub: RunningHub, alice: HfApi, eve: HfApi, gated: str) -> None:
    """The tree of a gated repo shows the SHA-256 of its large files to everybody."""
    secret = b"the secret answers"
    alice.upload_file(path_or_fileobj=secret, path_in_repo="answers.parquet", repo_id=gated, repo_type="dataset")
    (entry,) = eve.get_paths_info(gated, "answers.parquet", repo_type="dataset")
    assert isinstance(entry, RepoFile)
    assert entry.lfs is not None
    sha256, size = entry.lfs.sha256, entry.lfs.size
    eve.create_repo("eve/loot", repo_type="dataset")
    http = httpx2.Client(base_url=hub.url, headers={"authorization": f"Bearer {eve.token}"})

    def commit(key: str, value: dict[str, object]) -> httpx2.Response:
        parts = [{"key": "header", "value": {"summary": "Loot"}}, {"key": key, "value": {"path": "x.parquet", **value}}]
        return http.post("/api/datasets/eve/loot/commit/main", content="\n".join(map(json.dumps, parts)))

    assert "not uploaded" in commit("lfsFile", {"oid": sha256, "size": size}).json()["error"]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    assert "pointer" in commit("file", {"content": pointer}).json()["error"]
    batch = {"operation": "upload", "objects": [{"oid": sha256, "size": size}]}
    answer = http.post("/datasets/eve/loot.git/info/lfs/objects/batch", json=batch).json()
    assert "upload" in answer["objects"][0]["actions"], "what others sent must be sent again"
    assert eve.list_repo_files("eve/loot", repo_type="dataset") == [".gitattributes"]
    # Who has the content may use it: by sending it.
    eve.upload_file(path_or_fileobj=secret, path_in_repo="mine.parquet", repo_id="eve/loot", repo_type="dataset")
    assert eve.file_exists("eve/loot", "mine.parquet", repo_type="dataset")


def test_the_diff_of_a_pull_request_shows_nothing_of_a_gated_file(alice: HfApi, eve: HfApi, gated: str) -> None:
    operation = CommitOperationAdd("eval.yaml", b"tasks: [secret]")
    alice.create_commit(gated, [operation], commit_message="Change it", create_pr=True, repo_type="dataset")
    assert "secret" in (alice.get_discussion_details(gated, 1, repo_type="dataset").diff or "")
    assert eve.get_discussion_details(gated, 1, repo_type="dataset").diff is None


def test_only_a_gated_repo_has_grants(alice: HfApi) -> None:
    alice.create_repo("acme/open")
    with pytest.raises(BadRequestError, match="not gated"):
        alice.grant_access("acme/open", "eve")
