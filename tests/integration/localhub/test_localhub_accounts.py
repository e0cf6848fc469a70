from __future__ import annotations

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.support.localhub import RunningHub


def test_whoami_names_the_user_the_role_and_the_organisations(alice: HfApi) -> None:
    who = alice.whoami()
    assert who["name"] == "alice"
    assert [org["name"] for org in who["orgs"]] == ["acme"]
    assert who["auth"]["accessToken"]["role"] == "write"


def test_an_unknown_token_is_refused(hub: RunningHub) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_unknown").whoami()


def test_an_unknown_token_is_refused_even_where_no_token_is_needed(hub: RunningHub) -> None:
    answer = httpx2.get(f"{hub.url}/api/models", headers={"authorization": "Bearer hf_unknown"})
    assert answer.status_code == 401
    assert answer.json() == {"error": "Invalid credentials in Authorization header"}


def test_the_token_itself_is_not_stored(hub: RunningHub) -> None:
    token = hub.local.add_token("zoe")
    stored = hub.local.storage.folder / "tokens.json"
    assert token not in stored.read_text()
    assert stored.stat().st_mode & 0o077 == 0


def test_a_read_token_cannot_write(hub: RunningHub, alice: HfApi) -> None:
    alice.create_repo("acme/tiny")
    reader = HfApi(endpoint=hub.url, token=hub.local.add_token("alice", role="read", orgs=("acme",)))
    assert reader.model_info("acme/tiny").id == "acme/tiny"
    with pytest.raises(HfHubHTTPError, match="can only read"):
        reader.create_repo("acme/other")
    with pytest.raises(HfHubHTTPError, match="can only read"):
        reader.create_discussion("acme/tiny", title="May I?")


def test_nobody_can_write_without_a_token(alice: HfApi, nobody: HfApi) -> None:
    alice.create_repo("acme/tiny")
    with pytest.raises(HfHubHTTPError) as caught:
        nobody.create_discussion("acme/tiny", title="May I?")
    assert caught.value.response.status_code == 401


def test_the_members_of_an_organisation_are_listed_without_their_roles(hub: RunningHub, nobody: HfApi) -> None:
    hub.local.add_token("zoe", orgs=("zoos",))
    hub.local.add_token("adam", role="read", orgs=("zoos",))
    assert [member.username for member in nobody.list_organization_members("zoos")] == ["adam", "zoe"]
    with pytest.raises(HfHubHTTPError) as caught:
        list(nobody.list_organization_members("zoe"))
    assert caught.value.response.status_code == 404
