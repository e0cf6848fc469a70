"""The demo's own judgement: it is content only when every claim ended as it should, and no forged badge passes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.claims import DemoClaim
from deploy.demo.proof import ProofError, Published, fetch_published, prove, tampered
from deploy.demo.report import differences
from deploy.serving import QuietHandler, answered_by
from specs.api_v1.claims import ClaimView, PublicationView, VerdictSummary
from specs.attestation import verify
from specs.errors import TokenError
from specs.judging.verdict import Outcome
from tests.support.attestations import FACTS, attestation, jwks, signer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPECTED = DemoClaim("a true one", FACTS["model"], "capitals.yaml", "", "unsupported", because=("Framework",))


def claim(
    outcome: Outcome | None = Outcome.UNSUPPORTED, reason: str = "another framework", **changes: object
) -> ClaimView:
    verdict = outcome and VerdictSummary(outcome=outcome, reason=reason, comparison=None, decided_at=NOW)
    facts = {
        "id": "c" * 32,
        "model": FACTS["model"],
        "ref": "main",
        "commit": "a" * 40,
        "pull_request": None,
        "path": ".eval_results/capitals.yaml",
        "entry": 0,
        "submitter": "somebody",
        "dataset": FACTS["dataset"],
        "task": FACTS["task"],
        "dataset_revision": None,
        "value": FACTS["claimed_value"],
        "scale": None,
        "claimed": None,
        "tolerance": None,
        "notes": None,
        "source_url": None,
        "warnings": (),
        "state": "decided" if outcome else "rejected",
        "reason": reason,
        "since": NOW,
        "created_at": NOW,
        "gpu_seconds": None,
        "next_step": "",
        "reproduction": None,
        "verdict": verdict,
        "badge": None,
        "publication": None,
    }
    return ClaimView.model_validate({**facts, **changes})


def test_nothing_differs_when_the_verdict_and_its_reason_are_right() -> None:
    assert differences([claim()], [EXPECTED]) == []


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([], "has no such claim"),
        ([claim(Outcome.FAILED)], "expected unsupported, found failed"),
        ([claim(None)], "expected unsupported, found rejected"),
        ([claim(reason="because")], "does not say 'Framework'"),
        ([claim(pull_request=1)], "has no such claim"),
        ([claim(), claim(path=".eval_results/more.yaml")], "1 claims were submitted, and the farm has 2"),
    ],
)
def test_every_difference_is_told(found: list[ClaimView], sentence: str) -> None:
    assert sentence in " ".join(differences(found, [EXPECTED]))


def test_a_published_token_is_proved_and_its_tampered_copy_refused() -> None:
    key = signer()
    token = key.sign(attestation())
    proof = prove(Published(claim(), 3, token), jwks(key))
    assert proof.facts == attestation()
    assert "altered" in proof.refusal
    with pytest.raises(TokenError, match="altered"):
        verify(tampered(token), jwks(key))


@pytest.mark.parametrize("other", [{"value": 99.0}, {"model": "somebody/else"}, {"task": "another"}])
def test_a_token_about_another_claim_proves_nothing(other: dict[str, Any]) -> None:
    key = signer()
    with pytest.raises(ProofError, match="about another"):
        prove(Published(claim(**other), 3, key.sign(attestation())), jwks(key))


def test_a_token_of_another_key_proves_nothing() -> None:
    with pytest.raises(ProofError, match="not among the trusted keys"):
        prove(Published(claim(), 3, signer().sign(attestation())), jwks(signer()))


def test_a_pull_request_whose_download_breaks_is_a_proof_error(tmp_path: Path) -> None:
    class Breaking(QuietHandler):
        def do_HEAD(self) -> None:
            self.wfile.write(b"no HTTP\r\n\r\n")

    published = PublicationView(state="published", number=3, url=None, reason="")
    with answered_by(Breaking) as url, pytest.raises(ProofError, match="pull request 3 of smol/one cannot be read"):
        fetch_published(url, claim(publication=published), tmp_path)
