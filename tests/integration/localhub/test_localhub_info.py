from __future__ import annotations

import json
import struct
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import BadRequestError, RepositoryNotFoundError, RevisionNotFoundError

from tests.support.localhub import RunningHub

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8}


def safetensors_bytes() -> bytes:
    """A file of one 2 by 3 tensor of float32."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(24)


@pytest.fixture
def model_repo(alice: HfApi) -> str:
    alice.create_repo("acme/tiny")
    card = b"---\nlicense: mit\nlibrary_name: transformers\nbase_model: acme/base\n---\n# Tiny\n"
    files = {
        "README.md": card,
        "config.json": json.dumps(CONFIG).encode(),
        "sub/notes.txt": b"hello",
        "model.safetensors": safetensors_bytes(),
    }
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    alice.create_commit("acme/tiny", operations, commit_message="Add the model")
    return "acme/tiny"


def test_model_info_has_what_the_card_and_the_files_say(nobody: HfApi, model_repo: str) -> None:
    info = nobody.model_info(model_repo)
    assert info.author == "acme"
    assert info.library_name == "transformers"
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert {"license:mit", "base_model:acme/base", "safetensors"} <= set(info.tags or ())
    assert info.config == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert info.safetensors is not None
    assert (info.safetensors.parameters, info.safetensors.total) == ({"F32": 6}, 6)
    assert info.gated is False
    assert info.created_at is not None
    assert info.last_modified is not None


def test_files_metadata_gives_sizes_blob_ids_and_sha256(nobody: HfApi, model_repo: str) -> None:
    siblings = nobody.model_info(model_repo, files_metadata=True).siblings or []
    found = {item.rfilename: item for item in siblings}
    assert found["sub/notes.txt"].size == 5
    assert found["sub/notes.txt"].blob_id == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"
    weights = found["model.safetensors"]
    assert weights.lfs is not None
    assert weights.size == weights.lfs.size == len(safetensors_bytes())


def test_of_very_many_files_info_leaves_some_out_and_the_tree_none(
    nobody: HfApi, model_repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.localhub.info.MAX_SIBLINGS", 1)
    assert len(nobody.model_info(model_repo, files_metadata=True).siblings or ()) == 1
    assert len(nobody.model_info(model_repo, expand=["siblings"]).siblings or ()) == 1
    assert len(nobody.list_repo_files(model_repo)) > 1


def test_expand_gives_what_is_asked_for_and_nothing_else(nobody: HfApi, model_repo: str) -> None:
    info = nobody.model_info(model_repo, expand=["sha", "gated", "safetensors", "config", "baseModels"])
    assert info.sha is not None
    assert info.gated is False
    assert info.config == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert info.base_models == ["acme/base"]
    assert info.siblings is None
    assert info.card_data is None


def test_an_unknown_property_is_named(hub: RunningHub, model_repo: str) -> None:
    answer = httpx2.get(f"{hub.url}/api/models/{model_repo}", params={"expand": "shoeSize"})
    assert answer.status_code == 400
    assert "shoeSize" in answer.json()["error"]


@pytest.mark.parametrize("shorten", [False, True])
def test_info_at_a_revision_is_that_of_then(alice: HfApi, model_repo: str, shorten: bool) -> None:
    before = alice.model_info(model_repo).sha or ""
    alice.upload_file(path_or_fileobj=b"x", path_in_repo="new.txt", repo_id=model_repo)
    then = alice.model_info(model_repo, revision=before[:7] if shorten else before)
    assert then.sha == before
    assert "new.txt" not in {item.rfilename for item in then.siblings or ()}
    assert alice.model_info(model_repo, revision="main").sha != before


def test_dataset_info_has_its_card(alice: HfApi, nobody: HfApi) -> None:
    alice.create_repo("acme/facts", repo_type="dataset")
    card = b"---\nlanguage: [en]\nlicense: cc0-1.0\n---\n"
    alice.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="acme/facts", repo_type="dataset")
    info = nobody.dataset_info("acme/facts", expand=["sha", "gated", "tags", "cardData", "createdAt", "private"])
    assert {"language:en", "license:cc0-1.0"} <= set(info.tags or ())
    assert nobody.dataset_info("acme/facts", revision=info.sha).sha == info.sha


@pytest.mark.parametrize(
    "card", [b"---\na: [\n---\n", b"---\n- list\n---\n", b"---\nx: &a 1\ny: *a\n---\n", b"no card"]
)
def test_a_card_that_cannot_be_read_is_no_card(alice: HfApi, hub: RunningHub, card: bytes) -> None:
    alice.create_repo("acme/tiny")
    operation = {"key": "file", "value": {"path": "README.md", "content": card.decode()}}
    lines = [json.dumps({"key": "header", "value": {"summary": "Card"}}), json.dumps(operation)]
    url = f"{hub.url}/api/models/acme/tiny/commit/main"
    headers = {"authorization": f"Bearer {alice.token}"}
    assert httpx2.post(url, content="\n".join(lines), headers=headers).status_code == 200
    assert alice.model_info("acme/tiny").card_data is None


def test_the_client_warns_of_a_broken_card_before_it_uploads_it(alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    with pytest.raises(ValueError, match="Invalid metadata"):
        alice.upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="acme/tiny")


@pytest.mark.parametrize(
    "config", [b'{"model_type": NaN}', b'{"model_type": "\\ud800"}', b"[" * 50_000, b"[1]", b'{"model_type": Infinity']
)
def test_an_odd_config_harms_nothing(alice: HfApi, config: bytes) -> None:
    alice.create_repo("acme/odd")
    alice.upload_file(path_or_fileobj=config, path_in_repo="config.json", repo_id="acme/odd")
    assert alice.model_info("acme/odd").sha


@pytest.mark.parametrize("shape", ["[1e400]", "[-5]", "[9999999999, 9999999999]", '["x"]', "5", '[{"a": 1}]'])
def test_weights_of_an_impossible_shape_have_no_parameter_count(alice: HfApi, shape: str) -> None:
    header = f'{{"w": {{"dtype": "F32", "shape": {shape}}}}}'.encode()
    alice.create_repo("acme/odd")
    content = struct.pack("<Q", len(header)) + header
    alice.upload_file(path_or_fileobj=content, path_in_repo="model.safetensors", repo_id="acme/odd")
    assert alice.model_info("acme/odd").safetensors is None


def test_broken_weights_have_no_parameter_count(alice: HfApi) -> None:
    alice.create_repo("acme/broken")
    alice.upload_file(path_or_fileobj=b"\xff" * 64, path_in_repo="model.safetensors", repo_id="acme/broken")
    assert alice.model_info("acme/broken").safetensors is None


def test_missing_repos_and_revisions_have_their_own_errors(nobody: HfApi, eve: HfApi, model_repo: str) -> None:
    for api in (nobody, eve):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("acme/none")
        with pytest.raises(RepositoryNotFoundError):
            api.dataset_info(model_repo)
        for revision in ("none", "0" * 40, "refs/pr/7", "refs/heads/main", "a..b"):
            with pytest.raises(RevisionNotFoundError):
                api.model_info(model_repo, revision=revision)


@pytest.mark.parametrize("path", ["", "/tree/main", "/refs", "/commits/main", "/discussions"])
def test_a_poller_that_knows_the_etag_gets_304_until_something_changes(
    hub: RunningHub, alice: HfApi, model_repo: str, path: str
) -> None:
    url = f"{hub.url}/api/models/{model_repo}{path}"

    def ask(etag: str | None) -> httpx2.Response:
        return httpx2.get(url, headers={"if-none-match": etag} if etag else {})

    first = ask(None)
    again = ask(first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    alice.create_commit(
        model_repo, [CommitOperationAdd("n.txt", b"n")], commit_message="A change", create_pr=path == "/discussions"
    )
    changed = ask(first.headers["etag"])
    assert changed.status_code == 200
    assert changed.json() != first.json()


def test_the_front_page_says_how_to_use_it(hub: RunningHub) -> None:
    assert f"HF_ENDPOINT={hub.url}" in httpx2.get(hub.url).text


def test_an_unknown_address_is_answered_in_json(hub: RunningHub) -> None:
    answer = httpx2.get(f"{hub.url}/api/spaces/a/b")
    assert answer.status_code == 404
    body: dict[str, Any] = answer.json()
    assert "error" in body


def test_a_kind_of_repo_that_is_not_kept_is_refused(alice: HfApi) -> None:
    with pytest.raises(BadRequestError, match="no space"):
        alice.create_repo("acme/app", repo_type="space", space_sdk="static")
