from __future__ import annotations

import os
from hashlib import sha1
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, RepoFile, RepoFolder, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

from tests.support.localhub import RunningHub

TEXT = "Grüße, 世界\n".encode()
WEIGHTS = os.urandom(100_000) + bytes(100_000)


@pytest.fixture
def repo(alice: HfApi) -> str:
    alice.create_repo("acme/tiny")
    files = {
        "a.txt": TEXT,
        "empty.txt": b"",
        "deep/er/b.txt": b"b",
        "deep/c d%2F+#ü.txt": b"odd name",
        "w/model.safetensors": WEIGHTS,
    }
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    alice.create_commit("acme/tiny", operations, commit_message="Add files")
    return "acme/tiny"


def test_the_tree_lists_files_and_folders_with_their_blob_ids(nobody: HfApi, repo: str) -> None:
    top = {item.path: item for item in nobody.list_repo_tree(repo)}
    assert set(top) == {".gitattributes", "a.txt", "deep", "empty.txt", "w"}
    assert isinstance(top["deep"], RepoFolder)
    file = top["a.txt"]
    assert isinstance(file, RepoFile)
    assert file.size == len(TEXT)
    assert file.blob_id == sha1(b"blob %d\0" % len(TEXT) + TEXT, usedforsecurity=False).hexdigest()


def test_the_tree_goes_into_folders(nobody: HfApi, repo: str) -> None:
    everything = {item.path for item in nobody.list_repo_tree(repo, recursive=True)}
    assert {"deep", "deep/er", "deep/er/b.txt", "deep/c d%2F+#ü.txt", "w/model.safetensors"} <= everything
    inside = {item.path for item in nobody.list_repo_tree(repo, path_in_repo="deep")}
    assert inside == {"deep/er", "deep/c d%2F+#ü.txt"}
    assert {item.path for item in nobody.list_repo_tree(repo, path_in_repo="deep/er")} == {"deep/er/b.txt"}


def test_a_large_file_is_listed_with_its_own_size_and_sha256(nobody: HfApi, repo: str) -> None:
    (weights,) = nobody.list_repo_tree(repo, path_in_repo="w")
    assert isinstance(weights, RepoFile)
    assert weights.lfs is not None
    assert weights.size == weights.lfs.size == len(WEIGHTS)
    assert weights.xet_hash is None


def test_an_expanded_tree_names_the_last_commit_of_each_entry(alice: HfApi, repo: str) -> None:
    later = alice.upload_file(
        path_or_fileobj=b"b2", path_in_repo="deep/er/b.txt", repo_id=repo, commit_message="Change b"
    )
    found = {item.path: item for item in alice.list_repo_tree(repo, recursive=True, expand=True)}
    for path, title in (("a.txt", "Add files"), ("deep/er/b.txt", "Change b"), ("deep", "Change b")):
        commit = found[path].last_commit
        assert commit is not None
        assert commit.title == title
        assert (commit.oid == later.oid) == (title == "Change b")


def test_a_tree_of_thousands_of_files_comes_in_pages(alice: HfApi, repo: str) -> None:
    operations = [CommitOperationAdd(f"many/{index:04}.txt", b"x") for index in range(1200)]
    alice.create_commit(repo, operations, commit_message="Add many")
    assert len(list(alice.list_repo_tree(repo, path_in_repo="many"))) == 1200


def test_a_folder_or_revision_that_is_not_there_has_its_own_error(nobody: HfApi, repo: str) -> None:
    with pytest.raises(EntryNotFoundError):
        list(nobody.list_repo_tree(repo, path_in_repo="none"))
    with pytest.raises(EntryNotFoundError):
        list(nobody.list_repo_tree(repo, path_in_repo="a.txt"))
    with pytest.raises(RevisionNotFoundError):
        list(nobody.list_repo_tree(repo, revision="none"))


def test_paths_info_skips_what_is_not_there(nobody: HfApi, repo: str) -> None:
    found = nobody.get_paths_info(repo, ["a.txt", "deep", "none", "../x", "deep/c d%2F+#ü.txt"], expand=True)
    assert [item.path for item in found] == ["a.txt", "deep", "deep/c d%2F+#ü.txt"]
    assert all(item.last_commit for item in found)


@pytest.mark.parametrize(
    ("path", "content"),
    [("a.txt", TEXT), ("empty.txt", b""), ("deep/c d%2F+#ü.txt", b"odd name"), ("w/model.safetensors", WEIGHTS)],
)
def test_any_file_is_downloaded_as_it_was_uploaded(
    nobody: HfApi, repo: str, tmp_path: Path, path: str, content: bytes
) -> None:
    assert Path(nobody.hf_hub_download(repo, path, cache_dir=tmp_path / "cache")).read_bytes() == content
    assert Path(nobody.hf_hub_download(repo, path, local_dir=tmp_path / "local")).read_bytes() == content


def test_a_snapshot_is_downloaded_whole_at_its_commit(alice: HfApi, nobody: HfApi, repo: str, tmp_path: Path) -> None:
    commit = nobody.model_info(repo).sha
    alice.upload_file(path_or_fileobj=b"later", path_in_repo="later.txt", repo_id=repo)
    for revision in (commit, "main"):
        folder = Path(nobody.snapshot_download(repo, revision=revision, cache_dir=tmp_path / "cache"))
        assert (folder / "w/model.safetensors").read_bytes() == WEIGHTS
        assert (folder / "later.txt").exists() == (revision == "main")
        assert folder.name == nobody.model_info(repo, revision=revision).sha


def test_head_says_everything_about_a_file_but_its_content(hub: RunningHub, nobody: HfApi, repo: str) -> None:
    sha = nobody.model_info(repo).sha
    small = get_hf_file_metadata(hf_hub_url(repo, "a.txt", endpoint=hub.url), token=False)
    assert (small.commit_hash, small.size) == (sha, len(TEXT))
    (entry,) = nobody.get_paths_info(repo, "a.txt")
    assert isinstance(entry, RepoFile)
    assert small.etag == entry.blob_id
    large = get_hf_file_metadata(hf_hub_url(repo, "w/model.safetensors", endpoint=hub.url), token=False)
    (entry,) = nobody.get_paths_info(repo, "w/model.safetensors")
    assert isinstance(entry, RepoFile)
    assert entry.lfs is not None
    assert (large.etag, large.size) == (entry.lfs.sha256, len(WEIGHTS))
    assert large.xet_file_data is None


def test_no_answer_speaks_of_xet(hub: RunningHub, repo: str) -> None:
    answer = httpx2.head(f"{hub.url}/{repo}/resolve/main/w/model.safetensors")
    assert answer.headers["x-linked-size"] == str(len(WEIGHTS))
    assert not [name for name in answer.headers if "xet" in name]
    assert "link" not in answer.headers


@pytest.mark.parametrize(("path", "content"), [("a.txt", TEXT), ("w/model.safetensors", WEIGHTS)])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=2-5", slice(2, 6)),
        ("bytes=3-", slice(3, None)),
        ("bytes=-4", slice(-4, None)),
        ("bytes=0-0", slice(0, 1)),
    ],
)
def test_a_part_of_a_file_is_served(
    hub: RunningHub, repo: str, path: str, content: bytes, wanted: str, part: slice
) -> None:
    answer = httpx2.get(f"{hub.url}/{repo}/resolve/main/{path}", headers={"range": wanted})
    assert answer.status_code == 206
    assert answer.content == content[part]
    assert answer.headers["content-range"].endswith(f"/{len(content)}")


@pytest.mark.parametrize("path", ["a.txt", "w/model.safetensors"])
def test_a_part_beyond_the_end_is_refused(hub: RunningHub, repo: str, path: str) -> None:
    answer = httpx2.get(f"{hub.url}/{repo}/resolve/main/{path}", headers={"range": "bytes=9999999-"})
    assert answer.status_code == 416


def test_a_file_that_is_known_is_not_sent_again(hub: RunningHub, repo: str) -> None:
    url = f"{hub.url}/{repo}/resolve/main/a.txt"
    etag = httpx2.head(url).headers["etag"]
    assert httpx2.get(url, headers={"if-none-match": etag}).status_code == 304


def test_a_missing_file_names_the_commit_that_lacks_it(hub: RunningHub, nobody: HfApi, repo: str) -> None:
    with pytest.raises(EntryNotFoundError):
        nobody.hf_hub_download(repo, "none.txt")
    assert not nobody.file_exists(repo, "none.txt")
    assert nobody.file_exists(repo, "a.txt")
    answer = httpx2.head(f"{hub.url}/{repo}/resolve/main/none.txt")
    assert answer.headers["x-repo-commit"] == nobody.model_info(repo).sha


def test_branches_and_tags_are_listed_and_resolved(alice: HfApi, repo: str) -> None:
    first = alice.model_info(repo).sha
    alice.create_tag(repo, tag="v1", tag_message="The first")
    alice.create_branch(repo, branch="feature/x", revision="v1")
    alice.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, revision="feature/x")
    refs = alice.list_repo_refs(repo)
    assert {ref.name: ref.ref for ref in refs.branches} == {
        "main": "refs/heads/main",
        "feature/x": "refs/heads/feature/x",
    }
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", first)]
    assert refs.pull_requests is None
    assert alice.file_exists(repo, "x.txt", revision="feature/x")
    assert alice.model_info(repo, revision="v1").sha == first
    alice.delete_tag(repo, tag="v1")
    alice.delete_branch(repo, branch="feature/x")
    with pytest.raises(RevisionNotFoundError):
        alice.model_info(repo, revision="v1")
    with pytest.raises(RevisionNotFoundError):
        alice.model_info(repo, revision="feature/x")


def test_history_is_listed_newest_first_over_several_pages(alice: HfApi, repo: str) -> None:
    for index in range(55):
        alice.upload_file(
            path_or_fileobj=str(index).encode(),
            path_in_repo="count.txt",
            repo_id=repo,
            commit_message=f"Count {index}",
            commit_description="One more.",
        )
    commits = alice.list_repo_commits(repo, formatted=True)
    assert [commit.title for commit in commits] == [
        *(f"Count {index}" for index in reversed(range(55))),
        "Add files",
        "initial commit",
    ]
    assert commits[0].authors == ["alice"]
    assert commits[0].message == "One more."
    assert commits[0].formatted_title == "Count 54"
