"""An attestation for tests, and tokens that nobody honest would make."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scheduler.badges.signing import Signer
from specs.attestation import TYPE, Attestation

FACTS: dict[str, Any] = {
    "iss": "https://farm.example",
    "iat": 1_760_000_000,
    "jti": "b7e6a1",
    "version": 1,
    "model": "smol/one",
    "model_revision": "a" * 40,
    "dataset": "facts/capitals",
    "task": "capitals",
    "dataset_revision": "b" * 40,
    "spec_sha256": "c" * 64,
    "claimed_value": 41.2,
    "scale": "percent",
    "claimed": 0.412,
    "reproduced": 0.4,
    "standard_error": 0.02,
    "samples_used": 150,
    "population": 150,
    "tolerance": 0.08,
    "mode": "sequential",
    "alpha": 0.001,
    "interval": {"low": 0.4, "high": 0.4},
    "evidence_sha256": "d" * 64,
    "evidence_url": "https://farm.example/v1/evidence/dddd",
    "policy_sha256": "e" * 64,
    "versions": {"vllm": "0.32.0", "inspect_ai": "0.3.285"},
    "seed": 7,
    "batch_invariant": False,
    "failed": 0,
}


def attestation(**changes: Any) -> Attestation:
    """A good one, with some facts changed."""
    return Attestation.model_validate({**FACTS, **changes})


def signer() -> Signer:
    """A signer with a key of its own."""
    return Signer(Ed25519PrivateKey.generate())


def jwks(*signers: Signer) -> dict[str, object]:
    """The public keys of these."""
    return {"keys": [each.public_jwk for each in signers]}


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, payload and signature."""
    header, payload, signature = token.split(".")
    return _json(header), _json(payload), signature


def _json(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def unsigned(header: dict[str, Any], payload: object) -> str:
    """Header and payload, ready to be signed."""
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, payload))


def forged(key: Ed25519PrivateKey, key_id: str, payload: object, **header: Any) -> str:
    """A rightly signed token over whatever is given."""
    text = unsigned({"alg": "EdDSA", "typ": TYPE, "kid": key_id, **header}, payload)
    return f"{text}.{base64url(key.sign(text.encode()))}"
