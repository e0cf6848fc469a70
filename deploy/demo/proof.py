"""Checks published badges as a stranger would: the file from the Hub's pull request, and the public key alone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi

from specs import bounded_yaml
from specs.api_v1.claims import ClaimView
from specs.attestation import Attestation, Expected, verify
from specs.errors import ReprofarmError, TokenError


class ProofError(ReprofarmError):
    """A published badge does not prove what it should."""


@dataclass(frozen=True)
class Published:
    """A badge as it stands on the Hub."""

    claim: ClaimView
    pull_request: int
    token: str


@dataclass(frozen=True)
class Proof:
    """What was proved."""

    facts: Attestation
    refusal: str
    """Why the tampered copy is refused."""


def fetch_published(hub_url: str, claim: ClaimView, folder: Path) -> Published:
    """The token in the pull request that the farm opened for a verified claim.

    Raises:
        ProofError: there is no such pull request, or no token in it.
    """
    if claim.publication is None or claim.publication.number is None:
        raise ProofError(f"{claim.path} of {claim.model} is verified, and nothing is published")
    number = claim.publication.number
    try:
        file = HfApi(endpoint=hub_url, token=False).hf_hub_download(
            claim.model, claim.path, revision=f"refs/pr/{number}", local_dir=folder / f"pull-request-{number}"
        )
    except (httpx2.HTTPError, OSError) as error:
        raise ProofError(f"pull request {number} of {claim.model} cannot be read: {error}") from error
    entries = bounded_yaml.load(Path(file).read_bytes())
    entry = entries[claim.entry] if isinstance(entries, list) and claim.entry < len(entries) else None
    token = entry.get("verifyToken") if isinstance(entry, dict) else None
    if not isinstance(token, str):
        raise ProofError(f"pull request {number} of {claim.model} has no verifyToken in {claim.path}")
    return Published(claim, number, token)


def prove(published: Published, jwks: dict[str, object]) -> Proof:
    """Check a token without a network: signature, facts, and that a copy with a better score fails.

    Raises:
        ProofError: the token is no proof, or a forged one passes.
    """
    claim = published.claim
    wanted = Expected(claim.model, claim.dataset, claim.task, claim.value)
    try:
        facts = verify(published.token, jwks, wanted)
    except TokenError as error:
        raise ProofError(f"the token in pull request {published.pull_request} is no proof: {error}") from error
    try:
        verify(tampered(published.token), jwks, wanted)
    except TokenError as error:
        return Proof(facts, str(error))
    raise ProofError("a token with another score passed, which must never happen")


def tampered(token: str) -> str:
    """The token with both scores a little higher, and the signature left as it was."""
    header, payload, signature = token.split(".")
    facts = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    facts["claimed"] = facts["reproduced"] = min(1.0, facts["reproduced"] + 0.01)
    forged = base64.urlsafe_b64encode(json.dumps(facts).encode()).rstrip(b"=").decode()
    return f"{header}.{forged}.{signature}"


def check_evidence(facts: Attestation) -> int:
    """Fetch the log that a badge names; returns its size in bytes.

    Raises:
        ProofError: it is not there, or is another one.
    """
    try:
        answer = httpx2.get(facts.evidence_url, timeout=30.0).raise_for_status()
    except httpx2.HTTPError as error:
        raise ProofError(f"the evidence cannot be fetched: {error}") from error
    if hashlib.sha256(answer.content).hexdigest() != facts.evidence_sha256:
        raise ProofError("the evidence is not the file that the badge names")
    return len(answer.content)
