from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, DiscussionComment, DiscussionCommit, DiscussionStatusChange, HfApi
from huggingface_hub.community import DiscussionTitleChange
from huggingface_hub.errors import BadRequestError, HfHubHTTPError


@pytest.fixture
def repo(alice: HfApi) -> str:
    alice.create_repo("acme/tiny")
    return "acme/tiny"


def propose(api: HfApi, repo: str, path: str = "x.txt", content: bytes = b"x\n") -> int:
    info = api.create_commit(repo, [CommitOperationAdd(path, content)], commit_message=f"Change {path}", create_pr=True)
    assert info.pr_num is not None
    return info.pr_num


def test_a_discussion_is_opened_and_read_with_its_description(eve: HfApi, repo: str) -> None:
    opened = eve.create_discussion(repo, title="  A question ", description="What is this?")
    found = eve.get_discussion_details(repo, opened.num)
    assert (found.title, found.status, found.author, found.is_pull_request) == ("A question", "open", "eve", False)
    (event,) = found.events
    assert isinstance(event, DiscussionComment)
    assert (event.content, event.author, event.edited, event.hidden) == ("What is this?", "eve", False, False)


def test_comments_are_added_edited_and_hidden_by_their_author(alice: HfApi, eve: HfApi, repo: str) -> None:
    num = eve.create_discussion(repo, title="A question").num
    said = alice.comment_discussion(repo, num, "An **answer**")
    assert (said.content, said.author) == ("An **answer**", "alice")
    edited = alice.edit_discussion_comment(repo, num, said.id, "A better answer")
    assert (edited.id, edited.content, edited.edited) == (said.id, "A better answer", True)
    with pytest.raises(HfHubHTTPError, match="Comment not found"):
        eve.edit_discussion_comment(repo, num, said.id, "Something else")
    with pytest.warns(UserWarning, match="irreversible"):
        assert alice.hide_discussion_comment(repo, num, said.id).hidden
    last = alice.get_discussion_details(repo, num).events[-1]
    assert isinstance(last, DiscussionComment)
    assert (last.hidden, last.content) == (True, "")


def test_the_author_or_an_owner_renames_closes_and_opens_again(alice: HfApi, eve: HfApi, repo: str) -> None:
    num = eve.create_discussion(repo, title="A question").num
    renamed = eve.rename_discussion(repo, num, "A better question")
    assert isinstance(renamed, DiscussionTitleChange)
    assert (renamed.old_title, renamed.new_title) == ("A question", "A better question")
    assert alice.change_discussion_status(repo, num, "closed", comment="Done.").new_status == "closed"
    with pytest.raises(HfHubHTTPError, match="it is closed"):
        alice.change_discussion_status(repo, num, "closed")
    assert eve.change_discussion_status(repo, num, "open").new_status == "open"
    kinds = [event.type for event in eve.get_discussion_details(repo, num).events]
    assert kinds == ["comment", "title-change", "status-change", "comment", "status-change"]


def test_a_stranger_can_only_comment(alice: HfApi, eve: HfApi, repo: str) -> None:
    num = alice.create_discussion(repo, title="A question").num
    eve.comment_discussion(repo, num, "Me too")
    for change in (
        lambda: eve.rename_discussion(repo, num, "Other"),
        lambda: eve.change_discussion_status(repo, num, "closed"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            change()
        assert caught.value.response.status_code == 403


def test_a_pull_request_shows_its_commits_diff_and_target(eve: HfApi, repo: str) -> None:
    num = propose(eve, repo)
    second = eve.create_commit(
        repo, [CommitOperationAdd("y.txt", b"y\n")], commit_message="And y", revision=f"refs/pr/{num}"
    )
    found = eve.get_discussion_details(repo, num)
    assert (found.is_pull_request, found.status, found.title) == (True, "open", "Change x.txt")
    assert (found.target_branch, found.git_reference, found.conflicting_files) == ("refs/heads/main", "refs/pr/1", [])
    commits = [event for event in found.events if isinstance(event, DiscussionCommit)]
    assert [commit.summary for commit in commits] == ["Change x.txt", "And y"]
    assert commits[-1].oid == second.oid
    assert "+x\n" in (found.diff or "")
    assert "+y\n" in (found.diff or "")


def test_a_pull_request_is_merged(alice: HfApi, eve: HfApi, repo: str) -> None:
    num = propose(eve, repo)
    alice.upload_file(path_or_fileobj=b"meanwhile", path_in_repo="other.txt", repo_id=repo)
    with pytest.raises(HfHubHTTPError, match="write access"):
        eve.merge_pull_request(repo, num)
    alice.merge_pull_request(repo, num, comment="Thanks")
    found = alice.get_discussion_details(repo, num)
    head = alice.list_repo_commits(repo)[0]
    assert (found.status, found.merge_commit_oid) == ("merged", head.commit_id)
    assert head.title == "Change x.txt (#1)"
    assert isinstance(found.events[-2], DiscussionStatusChange)
    assert {"x.txt", "other.txt"} <= set(alice.list_repo_files(repo))
    assert "+x\n" in (found.diff or "")
    for change in (
        lambda: alice.merge_pull_request(repo, num),
        lambda: alice.change_discussion_status(repo, num, "open"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            change()
        assert caught.value.response.status_code == 409


def test_a_pull_request_that_conflicts_is_not_merged(alice: HfApi, eve: HfApi, repo: str) -> None:
    num = propose(eve, repo, "x.txt", b"hers\n")
    alice.upload_file(path_or_fileobj=b"ours\n", path_in_repo="x.txt", repo_id=repo)
    assert alice.get_discussion_details(repo, num).conflicting_files == ["x.txt"]
    with pytest.raises(HfHubHTTPError, match=r"Conflicts with main in x\.txt"):
        alice.merge_pull_request(repo, num)
    assert alice.get_discussion_details(repo, num).status == "open"


def test_a_discussion_cannot_be_merged(alice: HfApi, repo: str) -> None:
    num = alice.create_discussion(repo, title="A question").num
    with pytest.raises(BadRequestError, match="Only a pull request"):
        alice.merge_pull_request(repo, num)


def test_an_empty_pull_request_is_a_draft_until_it_is_opened(eve: HfApi, repo: str) -> None:
    opened = eve.create_pull_request(repo, title="Work in progress")
    assert opened.status == "draft"
    eve.create_commit(repo, [CommitOperationAdd("x.txt", b"x")], commit_message="Add x", revision=opened.git_reference)
    eve.change_discussion_status(repo, opened.num, "open")
    assert eve.get_discussion_details(repo, opened.num).status == "open"


def test_lists_are_filtered_by_type_status_and_author(alice: HfApi, eve: HfApi, repo: str) -> None:
    eve.create_discussion(repo, title="First")
    propose(eve, repo)
    alice.create_discussion(repo, title="Third")
    alice.change_discussion_status(repo, 1, "closed")
    alice.merge_pull_request(repo, 2)

    def numbers(**filters: str) -> list[int]:
        return [found.num for found in alice.get_repo_discussions(repo, **filters)]  # type: ignore[arg-type]  # literals

    assert numbers() == [3, 2, 1]
    assert numbers(discussion_type="pull_request") == [2]
    assert numbers(discussion_type="discussion") == [3, 1]
    assert numbers(discussion_status="open") == [3]
    assert numbers(discussion_status="closed") == [2, 1]
    assert numbers(author="alice") == [3]
    assert numbers(author="eve", discussion_type="discussion", discussion_status="closed") == [1]


def test_long_lists_come_in_pages(alice: HfApi, repo: str) -> None:
    for index in range(53):
        alice.create_discussion(repo, title=f"Number {index}")
    assert [found.num for found in alice.get_repo_discussions(repo)] == list(range(53, 0, -1))


def test_numbers_are_counted_for_each_repo(alice: HfApi, repo: str) -> None:
    alice.create_repo("acme/data", repo_type="dataset")
    alice.create_discussion(repo, title="On the model")
    opened = alice.create_discussion("acme/data", title="On the data", repo_type="dataset")
    assert (opened.num, opened.repo_type) == (1, "dataset")
    assert opened.url.endswith("/datasets/acme/data/discussions/1")


@pytest.mark.parametrize("title", ["", "ab", "x" * 201])
def test_a_title_that_is_too_short_or_too_long_is_refused(alice: HfApi, repo: str, title: str) -> None:
    with pytest.raises(BadRequestError, match="A title has"):
        alice.create_discussion(repo, title=title)


def test_a_discussion_that_is_not_there_is_not_found(alice: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError, match="Discussion not found") as caught:
        alice.get_discussion_details(repo, 7)
    assert caught.value.response.status_code == 404
