"""The local Hub as OpenID provider."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.localhub.oauth.applications import Registered
from tests.support.localhub import RunningHub

BACK = "http://farm.test/auth/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def farm(hub: RunningHub) -> Registered:
    return hub.local.storage.applications.add("<b>farm</b>", (BACK,))


def asked(farm: Registered, **changed: str) -> dict[str, str]:
    return {
        "client_id": farm.client_id,
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "openid profile",
        "state": "st",
        "nonce": "no",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changed,
    }


def code_for(hub: RunningHub, farm: Registered, token: str) -> str:
    form = {**asked(farm), "token": token, "answer": "allow"}
    back = httpx2.post(f"{hub.url}/oauth/authorize", data=form).headers["location"]
    assert back.startswith(BACK)
    found = parse_qs(urlsplit(back).query)
    assert found["state"] == ["st"]
    return found["code"][0]


def redeem(hub: RunningHub, farm: Registered, code: str, secret: str | None = None, **changed: str) -> httpx2.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    auth = (farm.client_id, secret or farm.secret)
    return httpx2.post(f"{hub.url}/oauth/token", data={**form, **changed}, auth=auth)


def test_an_application_learns_who_signed_in_and_their_roles(hub: RunningHub, farm: Registered) -> None:
    folder = str(hub.local.storage.folder)
    added = CliRunner().invoke(app, ["hub", "add-member", folder, "acme", "alice", "--role", "admin"])
    assert added.exit_code == 0, added.output
    token = hub.local.add_token("alice", orgs=("writers",))
    granted = redeem(hub, farm, code_for(hub, farm, token)).json()
    described = httpx2.get(f"{hub.url}/.well-known/openid-configuration").json()
    (key,) = jwt.PyJWKSet.from_dict(httpx2.get(described["jwks_uri"]).json()).keys
    claims: dict[str, Any] = jwt.decode(
        granted["id_token"], key, algorithms=["RS256"], audience=farm.client_id, issuer=hub.url
    )
    assert claims["nonce"] == "no"
    bearer = {"authorization": f"Bearer {granted['access_token']}"}
    userinfo = httpx2.get(described["userinfo_endpoint"], headers=bearer).json()
    assert (userinfo["sub"], userinfo["preferred_username"]) == (claims["sub"], "alice")
    assert {org["preferred_username"]: org["roleInOrg"] for org in userinfo["orgs"]} == {
        "acme": "admin",
        "writers": "write",
    }
    # What an application is given opens no repo.
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=bearer).status_code == 401


def test_a_code_counts_once_for_its_application_address_and_verifier(hub: RunningHub, farm: Registered) -> None:
    token = hub.local.add_token("alice")
    other = hub.local.storage.applications.add("other", (BACK,))
    assert redeem(hub, farm, code_for(hub, farm, token), code_verifier="w" * 43).json() == {"error": "invalid_grant"}
    assert redeem(hub, farm, code_for(hub, farm, token), redirect_uri="http://else.test").status_code == 400
    assert redeem(hub, other, code_for(hub, farm, token)).status_code == 400
    assert redeem(hub, farm, code_for(hub, farm, token), secret="wrong").json() == {"error": "invalid_client"}
    code = code_for(hub, farm, token)
    assert redeem(hub, farm, code).status_code == 200
    assert redeem(hub, farm, code).status_code == 400


def test_nobody_is_sent_to_an_address_that_the_application_did_not_name(hub: RunningHub, farm: Registered) -> None:
    for changed in ({"redirect_uri": "https://evil.test"}, {"redirect_uri": BACK + "/x"}, {"client_id": "unknown"}):
        answer = httpx2.get(f"{hub.url}/oauth/authorize", params=asked(farm, **changed))
        assert answer.status_code == 400
        assert "location" not in answer.headers


def test_a_request_without_a_challenge_is_sent_back(hub: RunningHub, farm: Registered) -> None:
    for changed in ({"code_challenge": ""}, {"code_challenge_method": "plain"}, {"response_type": "token"}):
        answer = httpx2.get(f"{hub.url}/oauth/authorize", params=asked(farm, **changed))
        assert "error=" in answer.headers["location"]


def test_the_page_is_escaped_unframed_and_asks_before_anything_is_given(hub: RunningHub, farm: Registered) -> None:
    hostile = '"><script>alert(1)</script>'
    page = httpx2.get(f"{hub.url}/oauth/authorize", params={**asked(farm, state=hostile), "answer": "allow"})
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert "<b>" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    wrong = httpx2.post(f"{hub.url}/oauth/authorize", data={**asked(farm), "token": "hf_wrong", "answer": "allow"})
    assert wrong.status_code == 401
    assert "knows no such access token" in wrong.text
    assert "hf_wrong" not in wrong.text


def test_an_application_is_added_from_the_command_line_and_its_secret_is_not_kept(hub: RunningHub) -> None:
    folder = hub.local.storage.folder
    added = CliRunner().invoke(app, ["hub", "add-oauth-app", str(folder), "farm", BACK])
    lines = dict(line.split("=") for line in added.output.splitlines())
    secret = lines["REPROFARM_HUB_OAUTH_CLIENT_SECRET"]
    assert hub.local.storage.applications.find(lines["REPROFARM_HUB_OAUTH_CLIENT_ID"]).has_secret(secret)
    stored = folder / "oauth_applications.json"
    assert secret not in stored.read_text()
    assert stored.stat().st_mode & 0o077 == 0
