"""What a verifyToken proves, and all the ways in which it does not."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from scheduler.badges.signing import Signer
from specs.attestation import MAX_TOKEN_CHARS, TYPE, Expected, verify
from specs.errors import TokenError
from tests.support.attestations import FACTS, attestation, base64url, forged, jwks, parts, signer, unsigned

KEY = Ed25519PrivateKey.generate()
FARM = Signer(KEY)
TRUSTED = jwks(FARM)
TOKEN = FARM.sign(attestation())
HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def refused(token: str, reason: str, keys: dict[str, Any] | None = None, expected: Expected | None = None) -> None:
    with pytest.raises(TokenError, match=reason):
        verify(token, TRUSTED if keys is None else keys, expected)


def test_a_token_gives_back_its_facts() -> None:
    assert verify(TOKEN, TRUSTED) == attestation()
    assert verify(TOKEN, TRUSTED, Expected("smol/one", "facts/capitals", "capitals", 41.2)) == attestation()


def test_a_token_of_a_task_without_id_and_of_one_sample_gives_back_its_facts() -> None:
    facts = attestation(task=None, standard_error=None, samples_used=1, scale="fraction", claimed_value=0.412)
    assert verify(FARM.sign(facts), TRUSTED) == facts


def test_a_fact_that_this_version_does_not_know_is_passed_over() -> None:
    token = forged(KEY, FARM.key_id, {**FACTS, "stated_by_a_later_farm": ["x", {"y": 1}]})
    assert verify(token, TRUSTED) == attestation()


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "smol/two"), ("dataset", "facts/rivers"), ("task", "rivers"), ("claimed_value", 42.0), ("iss", "x")],
)
def test_a_changed_fact_breaks_the_signature(name: str, value: object) -> None:
    payload = base64url(json.dumps({**FACTS, name: value}).encode())
    refused(f"{HEADER}.{payload}.{SIGNATURE}", "altered, or signed by another key")


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expected(model="smol/two"), "another model: 'smol/one', not 'smol/two'"),
        (Expected(dataset="facts/rivers"), "another dataset"),
        (Expected(task="rivers"), "another task"),
        (Expected(value=41.3), "another value: 41.2, not 41.3"),
    ],
)
def test_a_token_on_a_claim_that_was_changed_is_about_something_else(expected: Expected, reason: str) -> None:
    refused(TOKEN, reason, expected=expected)


def test_every_single_character_of_a_token_counts() -> None:
    for place, character in enumerate(TOKEN):
        with pytest.raises(TokenError):
            verify(TOKEN[:place] + ("A" if character != "A" else "B") + TOKEN[place + 1 :], TRUSTED)


@pytest.mark.parametrize("token", [TOKEN + "=", TOKEN + "\n", " " + TOKEN, TOKEN + ".", TOKEN + ".x", TOKEN[:-1]])
def test_a_token_has_one_spelling(token: str) -> None:
    refused(token, "not a compact JWS")


def test_the_spare_bits_of_the_last_character_count_too() -> None:
    # 64 bytes leave four bits over in the last of 86 characters; a lax decoder drops them.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    refused(TOKEN[:-1] + alphabet[alphabet.index(TOKEN[-1]) + 1], "not a compact JWS")


def test_another_key_under_the_same_name_does_not_pass() -> None:
    token = forged(Ed25519PrivateKey.generate(), FARM.key_id, FACTS)
    refused(token, "signed by another key")


def test_a_key_that_is_not_trusted_does_not_pass() -> None:
    refused(signer().sign(attestation()), "not among the trusted keys")
    refused(TOKEN, "not among the trusted keys", jwks(signer()))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256", "RS256", "Ed25519", "", None, 7])
def test_no_other_algorithm_counts(algorithm: object) -> None:
    refused(forged(KEY, FARM.key_id, FACTS, alg=algorithm), "only EdDSA counts")


def test_an_unsigned_token_does_not_pass() -> None:
    text = unsigned({"alg": "none", "typ": TYPE, "kid": FARM.key_id}, FACTS)
    refused(f"{text}.AAAA", "signed with 'none'; only EdDSA counts")
    refused(f"{text}.", "not a compact JWS")


def test_the_public_key_is_no_password() -> None:
    text = unsigned({"alg": "HS256", "typ": TYPE, "kid": FARM.key_id}, FACTS)
    mac = hmac.new(FARM.public_jwk["x"].encode(), text.encode(), hashlib.sha256).digest()
    refused(f"{text}.{base64url(mac)}", "signed with 'HS256'; only EdDSA counts")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "a token of type 'JWT'"),
        ({"typ": None}, "a token of type None"),
        ({"kid": None}, "Key ID"),
        ({"kid": 7}, "Key ID"),
        ({"kid": ""}, "names no key"),
        ({"kid": "x" * 5000}, "'x{50,}.*…, which is not among the trusted keys"),
        ({"crit": ["exp"], "exp": 1}, "(?i)crit|extension"),
        ({"crit": ["b64"], "b64": True}, "asks for an extension"),
        ({"b64": False, "crit": ["b64"]}, "asks for an extension"),
        ({"b64": True}, "asks for an extension"),
    ],
)
def test_a_header_asks_for_nothing_else(header: dict[str, object], reason: str) -> None:
    refused(forged(KEY, FARM.key_id, FACTS, **header), reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "not an attestation of version 1: version"),
        ({"reproduced": 0.2}, "do not match within its tolerance"),
        ({"reproduced": math.nan}, "reproduced"),
        ({"interval": {"low": 0.3, "high": 0.45}}, "its interval does not lie within its tolerance"),
        ({"interval": {"low": 0.405, "high": 0.41}}, "its interval does not lie within its tolerance"),
        ({"interval": {"low": 0.4, "high": 1.5}}, "interval.high"),
        ({"mode": "partial"}, "mode"),
        ({"claimed_value": math.nan}, "claimed_value"),
        ({"claimed_value": math.inf}, "claimed_value"),
        ({"standard_error": math.nan}, "standard_error"),
        ({"tolerance": math.nan}, "tolerance"),
        ({"claimed_value": 0.412}, "0.412 as a percent is not its claimed proportion"),
        ({"scale": "fraction"}, "41.2 as a fraction is not its claimed proportion"),
        ({"claimed_value": "41.2"}, "claimed_value"),
        ({"samples_used": 151}, "more samples than there are"),
        ({"samples_used": True}, "samples_used"),
        ({"failed": 1}, "more samples than there are"),
        ({"failed": -1}, "failed"),
        ({"model": 7}, "model"),
        ({"model_revision": "main"}, "model_revision"),
        ({"exp": 1}, "expired"),
        ({"sub": 7}, "Subject"),
        ({"jti": 7}, "(?i)jwt id|jti"),
    ],
)
def test_a_right_signature_over_wrong_facts_is_no_proof(changes: dict[str, object], reason: str) -> None:
    refused(forged(KEY, FARM.key_id, {**FACTS, **changes}), reason)


@pytest.mark.parametrize("name", sorted(set(FACTS) - {"version", "batch_invariant", "failed"}))
def test_a_missing_fact_is_named(name: str) -> None:
    refused(forged(KEY, FARM.key_id, {key: value for key, value in FACTS.items() if key != name}), name)


@pytest.mark.parametrize("payload", [None, 7, "text", [], [FACTS], {}, True])
def test_a_payload_that_is_no_attestation_is_no_proof(payload: object) -> None:
    refused(forged(KEY, FARM.key_id, payload), "not a token of this form|not an attestation")


def test_a_deeply_nested_payload_or_header_is_no_proof() -> None:
    deep = base64url(b"[" * 6000)
    header = base64url(json.dumps({"alg": "EdDSA", "typ": TYPE, "kid": FARM.key_id}).encode())
    refused(f"{header}.{deep}.{base64url(KEY.sign(f'{header}.{deep}'.encode()))}", "not a token of this form")
    refused(f"{deep}.{PAYLOAD}.{SIGNATURE}", "not a compact JWS")


def test_a_token_that_is_too_long_is_not_even_read() -> None:
    refused("A" * (MAX_TOKEN_CHARS + 1), "longer than 16384 characters")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "a.b.c", "é.b.c", "\ud800.b.c", "eyJ9.e30.AA", "a.b.c.d"])
def test_what_is_no_token_is_said_to_be_none(token: str) -> None:
    refused(token, "not a compact JWS")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kty": "EC", "crv": "P-256"}, "not an Ed25519 signature key"),
        ({"kty": "oct", "k": "AAAA"}, "not an Ed25519 signature key"),
        ({"crv": "Ed448"}, "not an Ed25519 signature key"),
        ({"crv": "X25519"}, "not an Ed25519 signature key"),
        ({"use": "enc"}, "not an Ed25519 signature key"),
        ({"kty": ["OKP"]}, "not an Ed25519 signature key"),
        ({"x": 7}, "cannot be read"),
        ({"x": "AAAA"}, "cannot be read"),
        ({"x": "é" * 43}, "cannot be read"),
        ({"kid": "other"}, "not among the trusted keys"),
    ],
)
def test_a_trusted_key_that_is_no_ed25519_signature_key_is_said_to_be_none(
    changes: dict[str, object], reason: str
) -> None:
    refused(TOKEN, reason, {"keys": [{**FARM.public_jwk, **changes}]})


def test_two_keys_of_one_name_are_refused() -> None:
    refused(TOKEN, "more than once", {"keys": [FARM.public_jwk, {**signer().public_jwk, "kid": FARM.key_id}]})


def test_other_keys_in_the_set_do_no_harm() -> None:
    others = [None, 7, {}, {"kid": 7}, {"kty": "EC"}, signer().public_jwk]
    assert verify(TOKEN, {"keys": [*others, FARM.public_jwk]}) == attestation()


@given(token=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_gives_a_reason_and_nothing_else(token: str) -> None:
    with pytest.raises(TokenError):
        verify(token, TRUSTED)


@given(header=JSON, payload=JSON, signature=st.binary(max_size=70))
def test_any_header_payload_and_signature_gives_a_reason_and_nothing_else(
    header: Any, payload: Any, signature: bytes
) -> None:
    text = unsigned(header, payload)
    for token in (f"{text}.{base64url(signature)}", f"{text}.{base64url(KEY.sign(text.encode()))}"):
        with pytest.raises(TokenError):
            verify(token, TRUSTED)


@given(payload=JSON, changes=st.dictionaries(st.sampled_from(sorted(FACTS)), JSON, max_size=3))
def test_any_signed_payload_proves_something_or_gives_a_reason(payload: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        verify(forged(KEY, FARM.key_id, payload), TRUSTED)
    try:
        found = verify(forged(KEY, FARM.key_id, {**FACTS, **changes}), TRUSTED)
    except TokenError:
        return
    assert abs(found.claimed - found.reproduced) <= found.tolerance + 1e-12


@given(
    keys=JSON | st.fixed_dictionaries({"keys": st.lists(JSON | st.fixed_dictionaries({"kid": st.just(FARM.key_id)}))})
)
def test_any_set_of_keys_gives_a_reason_and_nothing_else(keys: Any) -> None:
    with pytest.raises(TokenError):
        verify(TOKEN, keys)


def test_a_token_read_back_holds_what_was_signed() -> None:
    header, payload, _ = parts(TOKEN)
    assert header["kid"] == FARM.key_id
    assert payload == FACTS


def test_a_badge_from_before_kernels_were_stated_is_as_good_as_ever() -> None:
    older = {name: value for name, value in FACTS.items() if name != "batch_invariant"}
    assert not verify(forged(KEY, FARM.key_id, older), TRUSTED).batch_invariant
    invariant = verify(forged(KEY, FARM.key_id, {**FACTS, "batch_invariant": True}), TRUSTED)
    assert invariant.batch_invariant
