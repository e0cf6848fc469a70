from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison
from tests.support.waiting import PATIENCE_SECONDS

# The routes have tests on both kinds of databases.
pytestmark = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x9b2J \u202egnp.exe [bold]markup[/bold] :boom:"


def run(api: RunningApi, *arguments: str, columns: int | None = 200) -> Result:
    """What a command says on so many columns, or in a pipe, where nobody knows how many."""
    width = None if columns is None else str(columns)
    return CliRunner().invoke(app, [*arguments, "--api", api.url], env={"COLUMNS": width})


def assert_harmless(text: str) -> None:
    assert not [c for c in text if c in "\x1b\x07\x9b\u202e"]


def test_claims_are_listed_with_what_came_out(api: RunningApi) -> None:
    verified = api.rows.verified("tiny/model")
    running = api.rows.running("busy/model")
    result = run(api, "claims")
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()[1:]
    assert first.split()[:4] == [running[:8], "busy/model", "acme/capitals/europe", "41.20"]
    assert "120/300 samples" in first
    assert "running" in first
    assert verified[:8] in second
    assert "41.50 % ± 3.48" in second
    assert "verified, for a reason" in second


@pytest.mark.parametrize("columns", [60, 80, 120, 160])
def test_a_list_fits_the_terminal_and_loses_no_number(api: RunningApi, columns: int) -> None:
    api.rows.verified("some-organisation-with-a-name/and-a-model-with-a-long-name-of-its-own-Instruct")
    output = run(api, "claims", columns=columns).output
    assert max(map(len, output.splitlines())) <= columns
    assert "41.50" in output


GATED = "the dataset acme/capitals is gated: accept its terms with the farm's account; looked at every ten minutes"


@pytest.mark.parametrize("columns", [60, 80, 110, 160, None])
def test_what_waits_for_somebody_says_for_how_long_and_why_wherever_it_is_listed(
    api: RunningApi, columns: int | None
) -> None:
    model = "some-organisation/and-a-model-with-a-long-name-of-its-own-Instruct"
    api.rows.claim(model, state=ClaimState.BLOCKED, reason=GATED)
    output = run(api, "claims", "--state", "blocked", columns=columns).output
    assert GATED in " ".join(output.split())
    assert re.search(r"\bfor\b.* \d+ d\b", output, re.DOTALL)
    if columns is None:
        assert model in output
        assert len(output.splitlines()) == 2
    else:
        assert max(map(len, output.splitlines())) <= columns


def test_what_waits_for_nobody_has_its_reason_on_a_line_at_most(api: RunningApi) -> None:
    api.rows.claim(state=ClaimState.REJECTED, reason="no number: " + 100 * "long ")
    *_, row, reason = run(api, "claims", columns=80).output.splitlines()
    assert "rejected" in row
    assert re.fullmatch(r"  no number: (long )+.*…", reason)
    assert run(api, "claims", columns=None).output.count("long") == 100


def test_filters_reach_the_farm(api: RunningApi) -> None:
    wanted = api.rows.decided(Outcome.MISMATCH, "find/me", comparison(0.2), ref="refs/pr/9")
    api.rows.verified()
    api.rows.claim(state=ClaimState.BLOCKED)
    since = api.json(f"/v1/claims/{wanted}")["since"]
    assert json.loads(run(api, "claims", "--since", "2126-01-01", "--json").output)["items"] == []
    assert wanted in run(api, "claims", "--since", since[:10], "--json").output
    for options in ("--outcome mismatch", "--model find/me", "--search ind/m", "--model find/me --revision refs/pr/9"):
        listed = json.loads(run(api, "claims", *options.split(), "--json").output)["items"]
        assert [claim["id"] for claim in listed] == [wanted]
    assert run(api, "claims", "--model", "find/me", "--revision", "main").output == "no such claim\n"


@pytest.mark.parametrize("command", ["claims", "reproductions", "workers", "pools", "noise"])
def test_every_list_has_the_form_of_the_apis_own(api: RunningApi, command: str) -> None:
    api.rows.running()
    api.rows.worker("w1@host")
    api.rows.noise_pair()
    listed = json.loads(run(api, command, "--json").output)
    assert listed.keys() == {"items", "next"}
    answered = api.json(f"/v1/{command}")
    # What was seen just now or waits is a moment older by the second look.
    assert [each.keys() for each in listed["items"]] == [each.keys() for each in answered["items"]]
    assert listed["items"]


def test_a_limit_beyond_a_page_is_served_from_several(api: RunningApi) -> None:
    for _ in range(205):
        api.rows.claim()
    listed = json.loads(run(api, "claims", "--limit", "203", "--json").output)
    assert len({claim["id"] for claim in listed["items"]}) == 203
    rest = json.loads(run(api, "claims", "--cursor", listed["next"], "--json").output)
    assert (len(rest["items"]), rest["next"]) == (2, None)


def test_no_claims_is_said(api: RunningApi) -> None:
    assert run(api, "claims").output.strip().startswith("no claims yet")
    assert run(api, "claims", "--model", "no/model").output.strip() == "no such claim"


def test_text_from_outside_cannot_act_on_the_terminal(api: RunningApi) -> None:
    claim_id = api.rows.claim(
        "evil/model", state=ClaimState.REJECTED, reason=HOSTILE, notes=HOSTILE, submitter=HOSTILE, warnings=[HOSTILE]
    )
    api.rows.event("claim", claim_id, "rejected", HOSTILE, actor=HOSTILE)
    for command in ("claims", f"show {claim_id}"):
        output = run(api, *command.split()).output
        assert_harmless(output)
        assert "[bold]markup[/bold] :boom:" in output
    for command in ("claims --json", f"show {claim_id} --json"):
        output = run(api, *command.split()).output
        assert_harmless(output)
        assert "\\u202e" in output


def test_a_filter_that_the_farm_refuses_is_explained(api: RunningApi) -> None:
    result = run(api, "claims", "--state", "lost")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")
    assert "'submitted', 'planned'" in result.stderr


@pytest.mark.parametrize("arguments", [["claims"], ["claims", "--json", "--limit", "200"]])
def test_who_reads_only_the_beginning_is_no_mismatch_and_no_crash(api: RunningApi, arguments: list[str]) -> None:
    for _ in range(200):
        api.rows.claim()
    command = [sys.executable, "-c", "from deploy.cli.main import main; main()", *arguments, "--api", api.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Not even that: so that it does not matter how much a pipe takes.
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_SECONDS) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_disk_behind_a_redirection_is_said_in_a_sentence(api: RunningApi, more: list[str]) -> None:
    api.rows.claim()
    command = [sys.executable, "-c", "from deploy.cli.main import main; main()", "claims", "--api", api.url, *more]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr == "error: what is to be said cannot be written: No space left on device\n"
