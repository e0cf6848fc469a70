"""docs/operator.md names every setting, with the default that it has, and the fields of claims as they are.

Whatever it and docs/operations.md have a farm begin with has a budget.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings

from scheduler.settings import Settings
from specs.api_v1.claims import ClaimView
from specs.policy.rules import read_policy
from workers.settings import WorkerSettings

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "operator.md").read_text()
OPERATIONS = (PROJECT / "docs" / "operations.md").read_text()
COMPOSE = (PROJECT / "deploy" / "compose" / "policy.yaml").read_text()
CONTROL, OF_WORKERS = PAGE.split("Workers' settings begin with", 1)


def listed(text: str) -> dict[str, str]:
    """Settings of the page's tables, each with its default as it is written there."""
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \| (.*?) \|", text, re.MULTILINE)
    return {name: default for names, default in rows for name in re.findall(r"`([A-Z_]+)`", names)}


@pytest.mark.parametrize(
    ("settings", "found"),
    [(Settings, listed(CONTROL)), (WorkerSettings, listed(OF_WORKERS))],
    ids=["control", "worker"],
)
def test_every_setting_is_on_the_page_and_each_number_is_its_default(
    settings: type[BaseSettings], found: dict[str, str]
) -> None:
    fields = {name.upper(): field.default for name, field in settings.model_fields.items()}
    assert set(found) - {"VAR"} == set(fields)
    shared = ("SIGNING_KEY", "RETIRED_KEYS", "API_HOST", "API_PORT")
    for name, default in fields.items():
        if name not in shared and isinstance(default, int | float):
            assert found[name].strip("`").replace(",", "") == f"{default}".lower().removesuffix(".0"), name


def yaml_in(text: str, beginning: str) -> str:
    """What a page shows as YAML that begins so."""
    (shown,) = re.findall(rf"^```yaml\n({beginning}.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(shown)


@pytest.mark.parametrize(
    ("shown", "chooses"),
    [
        (yaml_in(PAGE, "version: 1\n"), True),
        (yaml.safe_dump(yaml.safe_load(yaml_in(OPERATIONS, "publicUrl: ")).get("policy")), True),
        (COMPOSE, False),
    ],
    ids=["page", "chart", "compose"],
)
def test_what_is_shown_as_a_policy_is_one_and_has_a_budget(tmp_path: Path, shown: str, chooses: bool) -> None:
    (tmp_path / "policy.yaml").write_text(shown)
    policy = read_policy(tmp_path / "policy.yaml")
    assert policy.budget.gpu_seconds_per_day
    assert (policy.watch.benchmarks != "official") is chooses


def test_no_command_begins_with_all_of_huggingface_co() -> None:
    started = re.findall(r"^(?:nohup )?reprofarm up\b.*", PAGE, re.MULTILINE)
    assert started
    assert all("--hub" in each or "--policy" in each for each in started), started
    # There the command is for any Hub: what is said before it is the policy.
    before, _, _ = OPERATIONS.partition("reprofarm up ")
    assert "`farm/policy.yaml`" in before
    assert "(operator.md#budgets)" in before


def test_what_is_picked_from_a_list_of_claims_is_a_field_of_a_claim() -> None:
    filters = re.findall(r"^reprofarm claims .*--json \|\n  jq -r '\.items\[\] \| (.*?)'", PAGE, re.MULTILINE)
    assert filters
    for each in filters:
        assert set(re.findall(r"\.([a-z_]+)", each)) <= set(ClaimView.model_fields), each
