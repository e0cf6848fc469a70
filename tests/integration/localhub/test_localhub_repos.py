from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from deploy.localhub.names import dataset
from tests.support.localhub import RunningHub


def test_a_new_repo_has_a_first_commit_on_main(hub: RunningHub, alice: HfApi) -> None:
    url = alice.create_repo("acme/tiny")
    assert (url.repo_id, url.repo_type, url.endpoint) == ("acme/tiny", "model", hub.url)
    (commit,) = alice.list_repo_commits("acme/tiny")
    assert commit.title == "initial commit"
    assert alice.list_repo_files("acme/tiny") == [".gitattributes"]


def test_a_repo_without_a_namespace_goes_to_the_users_own(alice: HfApi) -> None:
    assert alice.create_repo("mine", repo_type="dataset").repo_id == "alice/mine"


def test_creating_a_repo_twice_needs_exist_ok(alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    with pytest.raises(HfHubHTTPError, match="already created") as caught:
        alice.create_repo("acme/tiny")
    assert caught.value.response.status_code == 409
    assert alice.create_repo("acme/tiny", exist_ok=True).repo_id == "acme/tiny"


def test_names_that_differ_in_case_only_are_one_repo(alice: HfApi) -> None:
    alice.create_repo("acme/Tiny")
    assert alice.model_info("ACME/tiny").id == "acme/Tiny"
    with pytest.raises(HfHubHTTPError, match="already created"):
        alice.create_repo("acme/tiny")


def test_a_model_and_a_dataset_may_share_a_name(alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    alice.create_repo("acme/tiny", repo_type="dataset")
    alice.upload_file(path_or_fileobj=b"d", path_in_repo="d.txt", repo_id="acme/tiny", repo_type="dataset")
    assert alice.list_repo_files("acme/tiny") == [".gitattributes"]


def test_nobody_makes_repos_in_a_namespace_that_is_not_theirs(eve: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match='namespace "acme"') as caught:
        eve.create_repo("acme/tiny")
    assert caught.value.response.status_code == 403


def test_a_deleted_repo_is_gone_and_its_name_free(alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    alice.upload_file(path_or_fileobj=b"old", path_in_repo="old.txt", repo_id="acme/tiny")
    alice.create_discussion("acme/tiny", title="About the old one")
    alice.delete_repo("acme/tiny")
    with pytest.raises(RepositoryNotFoundError):
        alice.model_info("acme/tiny")
    alice.create_repo("acme/tiny")
    assert alice.list_repo_files("acme/tiny") == [".gitattributes"]
    assert list(alice.get_repo_discussions("acme/tiny")) == []


def test_a_renamed_repo_is_found_under_the_id_that_it_had(alice: HfApi, nobody: HfApi, tmp_path: Path) -> None:
    alice.create_repo("acme/tiny")
    alice.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="acme/tiny")
    alice.create_discussion("acme/tiny", title="About this one")
    alice.move_repo("acme/tiny", "alice/small")
    assert nobody.model_info("Acme/Tiny").id == "alice/small"
    assert nobody.list_repo_files("acme/tiny") == [".gitattributes", "x.txt"]
    assert [each.title for each in nobody.get_repo_discussions("acme/tiny")] == ["About this one"]
    assert Path(nobody.hf_hub_download("acme/tiny", "x.txt", cache_dir=tmp_path)).read_bytes() == b"x"
    alice.comment_discussion("acme/tiny", 1, "Still here")
    alice.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id="acme/tiny")
    alice.move_repo("alice/small", "alice/smaller")
    assert "y.txt" in nobody.list_repo_files("acme/tiny")
    alice.move_repo("alice/smaller", "acme/tiny")
    assert nobody.model_info("alice/small").id == nobody.model_info("acme/tiny").id == "acme/tiny"


def test_a_new_repo_takes_the_id_that_another_had(alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    alice.move_repo("acme/tiny", "acme/small")
    alice.create_repo("acme/tiny")
    assert alice.model_info("acme/tiny").id == "acme/tiny"
    with pytest.raises(HfHubHTTPError, match="already"):
        alice.move_repo("acme/small", "acme/tiny")
    assert alice.model_info("acme/small").id == "acme/small"


def test_a_name_may_change_in_case_alone(alice: HfApi) -> None:
    alice.create_repo("acme/Tiny")
    alice.move_repo("acme/Tiny", "acme/tiny")
    assert alice.model_info("acme/Tiny").id == "acme/tiny"
    assert alice.list_repo_files("acme/tiny") == [".gitattributes"]


def test_only_owners_rename_and_only_into_what_is_theirs(alice: HfApi, eve: HfApi, nobody: HfApi) -> None:
    alice.create_repo("acme/tiny", private=True)
    for who, to in ((eve, "eve/tiny"), (alice, "eve/tiny")):
        with pytest.raises(HfHubHTTPError) as caught:
            who.move_repo("acme/tiny", to)
        assert caught.value.response.status_code == 403
    alice.move_repo("acme/tiny", "acme/hidden")
    with pytest.raises(RepositoryNotFoundError) as unseen:
        nobody.model_info("acme/tiny")
    assert "hidden" not in str(unseen.value), "where a private repo went is nobody's business"


def test_deleting_what_is_not_there_says_so(alice: HfApi) -> None:
    with pytest.raises(RepositoryNotFoundError):
        alice.delete_repo("acme/none")
    alice.delete_repo("acme/none", missing_ok=True)


def test_only_owners_delete(alice: HfApi, eve: HfApi) -> None:
    alice.create_repo("acme/tiny")
    with pytest.raises(HfHubHTTPError) as caught:
        eve.delete_repo("acme/tiny")
    assert caught.value.response.status_code == 403


def test_a_private_repo_is_not_there_for_others(alice: HfApi, eve: HfApi, nobody: HfApi) -> None:
    alice.create_repo("acme/secret", private=True)
    assert alice.model_info("acme/secret").private
    for other in (eve, nobody):
        assert not other.repo_exists("acme/secret")
        assert list(other.list_models(author="acme")) == []
        with pytest.raises(RepositoryNotFoundError):
            other.hf_hub_download("acme/secret", ".gitattributes")
    assert [found.id for found in alice.list_models(author="acme")] == ["acme/secret"]


def test_settings_make_a_repo_private_and_gated(alice: HfApi, eve: HfApi) -> None:
    alice.create_repo("acme/tiny")
    alice.update_repo_settings("acme/tiny", gated="manual")
    assert eve.model_info("acme/tiny").gated == "manual"
    alice.update_repo_settings("acme/tiny", gated=False, private=True)
    assert alice.model_info("acme/tiny").gated is False
    with pytest.raises(RepositoryNotFoundError):
        eve.model_info("acme/tiny")


def test_datasets_are_listed_by_the_official_benchmark_tag(hub: RunningHub, alice: HfApi, nobody: HfApi) -> None:
    for name in ("acme/bench", "acme/plain"):
        alice.create_repo(name, repo_type="dataset")
    hub.local.mark_benchmark(dataset("acme/bench"))
    assert [found.id for found in nobody.list_datasets(filter="benchmark:official")] == ["acme/bench"]
    assert [found.id for found in nobody.list_datasets(benchmark=True)] == ["acme/bench"]
    assert len(list(nobody.list_datasets())) == 2


def test_models_are_listed_by_author_tag_and_name(alice: HfApi, nobody: HfApi) -> None:
    card = b"---\npipeline_tag: text-generation\ntags: [tiny]\nlicense: mit\n---\n"
    for name in ("acme/one", "acme/two", "alice/one"):
        alice.create_repo(name)
    alice.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="acme/two")
    assert {found.id for found in nobody.list_models(author="acme")} == {"acme/one", "acme/two"}
    assert [found.id for found in nobody.list_models(filter=["tiny", "license:mit"])] == ["acme/two"]
    assert {found.id for found in nobody.list_models(search="ONE")} == {"acme/one", "alice/one"}
    found = next(iter(nobody.list_models(search="two", expand=["sha", "cardData"])))
    assert found.sha == alice.model_info("acme/two").sha
    assert found.card_data is not None
    assert found.card_data.license == "mit"


def test_long_lists_come_in_pages_that_the_client_follows(alice: HfApi, nobody: HfApi) -> None:
    names = {f"acme/model-{index}" for index in range(5)}
    for name in names:
        alice.create_repo(name)
    assert {found.id for found in nobody.list_models(author="acme", limit=2)} < names
    pages = list(nobody.list_models(author="acme", sort="created_at", limit=4))
    assert len(pages) == 4
    times = [found.created_at for found in pages if found.created_at]
    assert times == sorted(times, reverse=True)


def test_a_name_is_given_to_one_of_many_who_ask_at_once(alice: HfApi) -> None:
    def create(_: int) -> int:
        try:
            alice.create_repo("acme/wanted")
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [200, 409, 409, 409, 409, 409]
    assert alice.list_repo_files("acme/wanted") == [".gitattributes"]
