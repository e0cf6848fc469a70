from __future__ import annotations

import re
from pathlib import Path
from string import Template

import pytest

from specs.logs.evidence import path_in_store
from tests.support.api import RunningApi, running_api

PAGE = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text()


def test_every_example_of_the_page_answers(tmp_path: Path, redis_url: str) -> None:
    with running_api(tmp_path, broker_url=redis_url) as api:
        known = examples(api, tmp_path)
        asked = re.findall(r'^curl (?:-O )?"\$FARM(/[^"]*)"$', PAGE, re.MULTILINE)
        assert len(asked) == PAGE.count("\ncurl ")
        for path in asked:
            answer = api.get(Template(path).substitute(known))
            assert answer.status_code == 200, f"{path}: {answer.text}"


def examples(api: RunningApi, folder: Path) -> dict[str, str]:
    """What the page's variables stand for."""
    for number in range(3):
        api.rows.claim(f"m/{number}")
    api.rows.benchmark()
    claim_id = api.rows.verified()
    api.rows.event("claim", claim_id, "decided")
    claim = api.json(f"/v1/claims/{claim_id}")
    evidence = claim["reproduction"]["evidence_sha256"]
    log = folder / "evidence" / path_in_store(evidence)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 1234)
    return {
        "CLAIM": claim_id[:8],
        "RUN": claim["reproduction"]["id"],
        "EVIDENCE": evidence,
        "NEXT": api.json("/v1/claims", limit=2)["next"],
        "LAST": str(api.json("/v1/events", order="newest", limit=1)["items"][0]["id"]),
    }


@pytest.mark.parametrize("model", ["ClaimView", "ReproductionSummary", "VerdictSummary"])
def test_every_field_that_the_page_explains_is_one(shared_api: RunningApi, model: str) -> None:
    fields = shared_api.json("/openapi.json")["components"]["schemas"][model]["properties"]
    explained = set(
        re.findall(
            r"`(?:reproduction|verdict)?\.?([a-z_]+)`", PAGE.split("## What the fields")[1].split("Three rules")[0]
        )
    )
    wanted = {
        "ClaimView": {"value", "claimed", "scale", "state", "reason", "since", "next_step", "badge", "publication"},
        "ReproductionSummary": {"queue_position", "stage", "samples_done", "samples_total", "score"},
        "VerdictSummary": {"outcome", "comparison"},
    }[model]
    assert wanted <= explained
    assert wanted <= set(fields)
