from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from string import Template

import pytest

from scheduler.api.problems import INVALID, KINDS
from scheduler.badges import revoking
from scheduler.badges.signing import Signer
from specs.api_v1.views import DATABASE_AWAY
from specs.logs.evidence import path_in_store
from tests.support.api import RunningApi, running_api

PAGE = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text()


def test_every_example_of_the_page_answers(tmp_path: Path, redis_url: str) -> None:
    with running_api(tmp_path, broker_url=redis_url) as api:
        known = examples(api, tmp_path)
        asked = re.findall(r'^curl (?:-OJ |-o \S+ |--etag-\w+ \w+ )*"\$FARM(/[^"]*)"$', PAGE, re.MULTILINE)
        assert len(asked) == PAGE.count("\ncurl ")
        for path in asked:
            answer = api.get(Template(path).substitute(known))
            assert answer.status_code == 200, f"{path}: {answer.text}"


def test_the_check_without_our_package_knows_a_good_badge_from_bad_ones(api: RunningApi, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH; install Debian's package nodejs")
    api.rows.signer = Signer.create(api.settings.signing_key)
    good, revoked = (api.json(f"/v1/claims/{api.rows.verified()}/badge") for _ in range(2))
    revoking.revoke(api.rows.database, revoked["id"], "its log was made up", "operator:test")
    (script,) = re.findall(r"```js\n(// node check\.mjs .*?)```", PAGE, re.DOTALL)
    (tmp_path / "check.mjs").write_text(script)
    for name in (".well-known/jwks.json", "v1/revocations"):
        (tmp_path / Path(name).name).write_text(api.get(f"/{name}").text)
    altered = good["token"].replace(".", ".e", 1)
    for token, genuine, counts in (
        (good["token"], True, True),
        (revoked["token"], True, False),
        (altered, False, False),
    ):
        command = [node, "check.mjs", token, "jwks.json", "revocations"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is counts
        if genuine:
            said = json.loads(done.stdout)
            assert (said["genuine"], said["revoked"]) == (True, not counts)
            assert said["stated"]["model"] == "tiny/model"


def test_a_part_of_the_list_of_revocations_does_not_pass_for_the_whole(api: RunningApi, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH; install Debian's package nodejs")
    api.rows.signer = Signer.create(api.settings.signing_key)
    first, later = (api.json(f"/v1/claims/{api.rows.verified()}/badge") for _ in range(2))
    for badge in (first, later):
        revoking.revoke(api.rows.database, badge["id"], "its log was made up", "operator:test")
    (script,) = re.findall(r"```js\n(// node check\.mjs .*?)```", PAGE, re.DOTALL)
    (tmp_path / "check.mjs").write_text(script)
    (tmp_path / "jwks.json").write_text(api.get("/.well-known/jwks.json").text)
    newest = api.get("/v1/revocations", limit=1)
    (tmp_path / "1.json").write_text(newest.text)
    (tmp_path / "2.json").write_text(api.get("/v1/revocations", limit=1, cursor=newest.json()["next"]).text)
    said = {}
    for pages in ((), ("1.json",), ("1.json", "2.json")):
        command = [node, "check.mjs", first["token"], "jwks.json", *pages]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        said[len(pages)] = json.loads(done.stdout)
    assert [(found["revoked"], found["whole"]) for found in said.values()] == [
        (False, False),
        (False, False),
        (True, True),
    ]


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
            r"`(?:reproduction|verdict)?\.?([a-z_]+)`", PAGE.split("## What the fields")[1].split("Four rules")[0]
        )
    )
    wanted = {
        "ClaimView": {
            "value",
            "claimed",
            "scale",
            "scale_source",
            "state",
            "reason",
            "since",
            "next_step",
            "badge",
            "publication",
        },
        "ReproductionSummary": {"queue_position", "stage", "samples_done", "samples_total", "score"},
        "VerdictSummary": {"outcome", "comparison"},
    }[model]
    assert wanted <= explained
    assert wanted <= set(fields)


def test_every_name_of_a_problem_is_on_the_page_with_its_status() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \d{3}", line)]
    said = {(name, row[2:5]) for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[2])}
    ours = {(name, str(int(status))) for status, name in KINDS.values()}
    assert said == ours | {(INVALID, "422"), (DATABASE_AWAY, "503")}
