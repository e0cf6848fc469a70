"""When two reproductions can be served by one engine: a key that the control plane and workers reckon alike."""

from __future__ import annotations

import hashlib

import rfc8785

from specs.messages import ModelRef
from specs.policy.engine import EngineRules


def engine_key(model: ModelRef, rules: EngineRules, gpus: int) -> str:
    """Hex SHA-256 of what makes an engine, in canonical JSON (RFC 8785).

    It is a hint: where the two sides run different versions and reckon otherwise, an engine is loaded once more.
    """
    known = model.model_dump(mode="json"), rules.model_dump(mode="json"), gpus
    return hashlib.sha256(rfc8785.dumps(known)).hexdigest()
