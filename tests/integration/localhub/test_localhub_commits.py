from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from deploy.localhub.commits import CommitText
from deploy.localhub.errors import HubError
from deploy.localhub.names import model
from tests.support.localhub import RunningHub


@pytest.fixture
def repo(alice: HfApi) -> str:
    alice.create_repo("acme/tiny")
    return "acme/tiny"


def read(hub: RunningHub, path: str, revision: str = "main") -> bytes:
    return hub.local.read_file(model("acme/tiny"), path, revision)


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def test_a_commit_adds_changes_copies_and_removes_files(hub: RunningHub, alice: HfApi, repo: str) -> None:
    files = [add("a.txt", b"a"), add("b/c.txt", b"c"), add("b/d.txt", b"d"), add("w.bin", b"weights")]
    alice.create_commit(repo, files, commit_message="One")
    info = alice.create_commit(
        repo,
        [
            add("a.txt", b"A"),
            CommitOperationCopy("w.bin", "copy.bin"),
            CommitOperationDelete("b/"),
            CommitOperationDelete("w.bin"),
        ],
        commit_message="Two",
        commit_description="With a description.",
    )
    assert alice.list_repo_files(repo) == [".gitattributes", "a.txt", "copy.bin"]
    assert read(hub, "a.txt") == b"A"
    assert read(hub, "copy.bin") == b"weights"
    head = alice.list_repo_commits(repo)[0]
    assert (head.commit_id, head.title, head.message) == (info.oid, "Two", "With a description.")
    assert alice.model_info(repo).sha == info.oid


def test_a_file_can_take_the_place_of_a_folder_and_back(hub: RunningHub, alice: HfApi, repo: str) -> None:
    alice.upload_file(path_or_fileobj=b"inside", path_in_repo="x/y", repo_id=repo)
    alice.create_commit(repo, [CommitOperationDelete("x/"), add("x", b"now a file")], commit_message="To a file")
    assert read(hub, "x") == b"now a file"
    alice.create_commit(repo, [CommitOperationDelete("x"), add("x/y", b"inside")], commit_message="And back")
    assert read(hub, "x/y") == b"inside"


def test_removing_what_is_not_there_is_refused(alice: HfApi, repo: str) -> None:
    for operation in (CommitOperationDelete("none.txt"), CommitOperationDelete("none/")):
        with pytest.raises(EntryNotFoundError):
            alice.create_commit(repo, [operation], commit_message="Remove")


def test_uploading_the_same_again_makes_no_commit(alice: HfApi, repo: str) -> None:
    first = alice.upload_file(path_or_fileobj=b"same", path_in_repo="a.txt", repo_id=repo)
    second = alice.upload_file(path_or_fileobj=b"same", path_in_repo="a.txt", repo_id=repo)
    assert first.oid == second.oid


def test_a_commit_on_a_stale_parent_is_refused(alice: HfApi, repo: str) -> None:
    parent = alice.model_info(repo).sha
    alice.create_commit(repo, [add("a.txt", b"1")], commit_message="First", parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        alice.create_commit(repo, [add("a.txt", b"2")], commit_message="Second", parent_commit=parent)
    assert caught.value.response.status_code == 412


def test_commits_at_the_same_time_are_all_kept(alice: HfApi, repo: str) -> None:
    def upload(index: int) -> str:
        done = alice.create_commit(repo, [add(f"{index}.txt", b"x")], commit_message=f"Add {index}")
        return done.oid

    with ThreadPoolExecutor(4) as pool:
        commits = set(pool.map(upload, range(12)))
    assert len(commits) == 12
    assert set(alice.list_repo_files(repo)) == {".gitattributes", *(f"{index}.txt" for index in range(12))}
    assert commits < {commit.commit_id for commit in alice.list_repo_commits(repo)}


def test_missing_repos_and_branches_are_refused(alice: HfApi, repo: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        alice.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="acme/none")
    with pytest.raises(RevisionNotFoundError):
        alice.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo, revision="none")


def test_only_owners_commit_to_main(eve: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError, match="write access") as caught:
        eve.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
    assert caught.value.response.status_code == 403


def test_anybody_proposes_a_commit_as_a_pull_request(hub: RunningHub, alice: HfApi, eve: HfApi, repo: str) -> None:
    main = alice.model_info(repo).sha
    info = eve.create_commit(
        repo, [add("x.txt", b"x")], commit_message="Add x", commit_description="Because.", create_pr=True
    )
    assert (info.pr_num, info.pr_revision) == (1, "refs/pr/1")
    assert alice.model_info(repo).sha == main
    assert eve.model_info(repo, revision="refs/pr/1").sha == info.oid
    refs = alice.list_repo_refs(repo, include_pull_requests=True)
    assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests or ()] == [("refs/pr/1", info.oid)]
    assert read(hub, "x.txt", "refs/pr/1") == b"x"


def test_a_pull_request_takes_further_commits_of_its_author_and_of_owners(
    hub: RunningHub, alice: HfApi, eve: HfApi, repo: str
) -> None:
    eve.create_commit(repo, [add("x.txt", b"x")], commit_message="Add x", create_pr=True)
    eve.create_commit(repo, [add("y.txt", b"y")], commit_message="Add y", revision="refs/pr/1")
    alice.create_commit(repo, [add("z.txt", b"z")], commit_message="Add z", revision="refs/pr/1")
    assert set(alice.list_repo_files(repo, revision="refs/pr/1")) == {".gitattributes", "x.txt", "y.txt", "z.txt"}
    mallory = HfApi(endpoint=hub.url, token=hub.local.add_token("mallory"))
    with pytest.raises(HfHubHTTPError, match="write access"):
        mallory.create_commit(repo, [add("m.txt", b"m")], commit_message="Add m", revision="refs/pr/1")


def test_a_closed_pull_request_takes_no_commits(alice: HfApi, repo: str) -> None:
    alice.create_commit(repo, [add("x.txt", b"x")], commit_message="Add x", create_pr=True)
    alice.change_discussion_status(repo, 1, "closed")
    with pytest.raises(HfHubHTTPError, match="is closed"):
        alice.create_commit(repo, [add("y.txt", b"y")], commit_message="Add y", revision="refs/pr/1")


def test_a_pull_request_can_build_on_an_older_commit(alice: HfApi, eve: HfApi, repo: str) -> None:
    parent = alice.model_info(repo).sha
    alice.upload_file(path_or_fileobj=b"later", path_in_repo="later.txt", repo_id=repo)
    eve.create_commit(repo, [add("x.txt", b"x")], commit_message="Add x", parent_commit=parent, create_pr=True)
    assert alice.list_repo_files(repo, revision="refs/pr/1") == [".gitattributes", "x.txt"]


def test_a_pull_request_that_changes_nothing_is_not_opened(hub: RunningHub, alice: HfApi, repo: str) -> None:
    files = {".gitattributes": read(hub, ".gitattributes")}
    with pytest.raises(HubError, match="change nothing"):
        hub.local.commit(model(repo), files, CommitText("Nothing", "alice"), create_pr=True)
    assert list(alice.get_repo_discussions(repo)) == []


def test_large_files_of_the_usual_client_arrive_whole(alice: HfApi, repo: str, tmp_path: Path) -> None:
    """With hf_xet installed, as it is by default, the client sends these by the Xet protocol and by nothing else."""
    folder = tmp_path / "model"
    folder.mkdir()
    # Random bytes are stored, zeros packed with LZ4, and floats grouped by byte before they are packed.
    contents = {
        "random.safetensors": os.urandom(3_000_001),
        "zeros.bin": bytes(500_003),
        "floats.bin": b"".join(bytes([index % 7, index % 251, 61, 66]) for index in range(120_000)),
        "config.json": b"{}",
        "log.txt": b"line\n" * 2_200_000,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    alice.upload_folder(repo_id=repo, folder_path=folder)
    entries = {item.path: item for item in alice.list_repo_tree(repo) if isinstance(item, RepoFile)}
    for name, content in contents.items():
        assert Path(alice.hf_hub_download(repo, name, cache_dir=tmp_path / "cache")).read_bytes() == content
        assert entries[name].size == len(content)
        assert (entries[name].lfs is None) == (name == "config.json")


def test_large_files_of_a_client_without_xet_arrive_by_git_lfs(
    hub: RunningHub, alice: HfApi, repo: str, tmp_path: Path
) -> None:
    content = os.urandom(200_000)
    (tmp_path / "w.safetensors").write_bytes(content)
    program = (
        "import sys; from huggingface_hub import HfApi; endpoint, token, folder = sys.argv[1:]\n"
        "HfApi(endpoint=endpoint, token=token).upload_folder(repo_id='acme/tiny', folder_path=folder,"
        " allow_patterns='*.safetensors')"
    )
    subprocess.run(
        [sys.executable, "-c", program, hub.url, str(alice.token), str(tmp_path)],
        env={**os.environ, "HF_HUB_DISABLE_XET": "1"},
        check=True,
        capture_output=True,
    )
    assert read(hub, "w.safetensors") == content
    # The same content under another name need not be sent again.
    alice.upload_file(path_or_fileobj=BytesIO(content), path_in_repo="again.safetensors", repo_id=repo)
    assert read(hub, "again.safetensors") == content


def test_git_itself_agrees_with_what_was_committed(hub: RunningHub, alice: HfApi, repo: str) -> None:
    alice.create_commit(repo, [add("a.txt", b"a"), add("\"q'.txt", b"q"), add("w.bin", b"w")], commit_message="Add")
    path = hub.local.storage.git(model(repo)).path
    subprocess.run(["git", f"--git-dir={path}", "fsck", "--strict", "--full"], check=True, capture_output=True)
    pointer = subprocess.run(
        ["git", f"--git-dir={path}", "show", "main:w.bin"], check=True, capture_output=True, text=True
    ).stdout
    assert pointer.startswith("version https://git-lfs.github.com/spec/v1\noid sha256:")


def test_a_commit_without_a_message_is_refused(hub: RunningHub, alice: HfApi, repo: str) -> None:
    with pytest.raises(BadRequestError, match="needs a message"):
        alice.create_commit(repo, [add("a.txt", b"a")], commit_message=" ")
