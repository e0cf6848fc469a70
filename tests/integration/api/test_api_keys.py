from __future__ import annotations

import json

import pytest

from scheduler.badges.revoking import revoke_key
from scheduler.badges.signing import Signer, public_path
from specs.attestation import verify
from specs.errors import TokenError
from tests.support.api import RunningApi


def publish_key(api: RunningApi, signer: Signer) -> None:
    path = public_path(api.settings.signing_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(signer.public_jwk))


def test_a_farm_without_a_key_has_an_empty_list(api: RunningApi) -> None:
    assert api.json("/.well-known/jwks.json") == {"keys": []}


def test_a_served_badge_is_proven_by_the_served_keys_alone(api: RunningApi) -> None:
    publish_key(api, api.rows.signer)
    claim_id = api.rows.verified("tiny/model")
    token = api.json(f"/v1/claims/{claim_id}/badge")["token"]
    # No private key lies there for the API to read.
    assert not api.settings.signing_key.exists()
    assert verify(token, api.json("/.well-known/jwks.json")).model == "tiny/model"


def test_a_badge_of_another_key_is_not_proven_by_the_served_keys(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    Signer.create(api.settings.signing_key)
    keys = api.json("/.well-known/jwks.json")
    assert len(keys["keys"]) == 1
    with pytest.raises(TokenError, match="not among the trusted keys"):
        verify(api.json(f"/v1/claims/{claim_id}/badge")["token"], keys)


def test_keys_hold_nothing_private(api: RunningApi) -> None:
    Signer.create(api.settings.signing_key)
    (key,) = api.json("/.well-known/jwks.json")["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_a_retired_key_stays_listed(api: RunningApi) -> None:
    publish_key(api, api.rows.signer)
    api.settings.retired_keys.mkdir(parents=True)
    public_path(api.settings.signing_key).rename(api.settings.retired_keys / "2025.json")
    Signer.create(api.settings.signing_key)
    ids = [key["kid"] for key in api.json("/.well-known/jwks.json")["keys"]]
    assert len(ids) == 2
    assert api.rows.signer.key_id in ids


def test_revoked_keys_are_in_every_part_of_the_list_of_revocations(api: RunningApi) -> None:
    for model in ("tiny/model", "second/model"):
        api.rows.verified(model)
    revoke_key(api.rows.database, api.rows.signer.key_id, "it was on a stolen disk", "operator:olga")
    page = api.json("/v1/revocations", limit=1)
    rest = api.json("/v1/revocations", limit=1, cursor=page["next"])
    assert [each["revoked_keys"] for each in (page, rest)] == [[api.rows.signer.key_id]] * 2


def test_a_broken_key_file_is_the_operators_problem_and_shows_no_path(api: RunningApi) -> None:
    path = public_path(api.settings.signing_key)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    answer = api.get("/.well-known/jwks.json")
    assert answer.status_code == 500
    assert str(path.parent) not in answer.text
