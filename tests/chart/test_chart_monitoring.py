"""Alerts and dashboards ask for figures that the farm has, and alerts lead to a page that is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scheduler.database.tables import EngineLoad, HubLimit, Marker, now
from scheduler.database.tables.marker import REAPER_LOOKED
from tests.chart.test_alert_rules import (
    ALERTS,
    FARM,
    FINE,
    TROUBLE,
    answers_as_expected,
    firing,
    firing_on_farms,
    rules,
)
from tests.support.api import running_api
from tests.support.chart import one, rendered
from tests.support.chart_values import MONITORED

DOCS = Path(__file__).parents[2] / "docs"
COMPOSE = Path(__file__).parents[2] / "deploy" / "compose" / "prometheus.yaml"
GIVEN_BY_PROMETHEUS = {"namespace", "job"}
METRIC = re.compile(r"\breprofarm_[a-z0-9_]+")
COUNT = re.compile(r"increase\(max by \([^)]+\) \((\w+)(?:\{([^}]*)\})?\)\[(\d+)([hd]):\d+m\]\)")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric that the API of a farm with a run serves."""
    folder = tmp_path_factory.mktemp("farm")
    policy = folder / "policy.yaml"
    policy.write_text("budget: {gpu_seconds_per_day: 1000}\n")
    with running_api(folder, policy=policy) as api:
        api.rows.verified()
        api.rows.running()
        api.rows.worker("w1@host")
        api.rows.add(EngineLoad(worker="w1@host", started_at=now(), pool="cpu", model_id="tiny/model"))
        api.rows.add(Marker(name=REAPER_LOOKED, at=now()))
        api.rows.add(HubLimit(resource="api", remaining=1, quota=2, resets_at=now(), seen_at=now()))
        families = text_string_to_metric_families(api.get("/metrics").text)
        found: dict[str, set[str]] = {}
        for sample in (each for family in families for each in family.samples):
            found.setdefault(sample.name, set()).update(sample.labels)
        return found


def alerts(**more: Any) -> list[dict[str, Any]]:
    values = {**MONITORED, "monitoring": {**MONITORED["monitoring"], **more}}
    (group,) = one(rendered(values), "PrometheusRule", "")["spec"]["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one(rendered(MONITORED), "ConfigMap", "dashboards")["data"]["reprofarm.json"])
    return found


def panels() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def expressions() -> list[str]:
    return [*panels(), *(rule["expr"] for rule in alerts())]


def test_every_figure_that_is_asked_for_exists_with_its_labels(figures: dict[str, set[str]]) -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert asked
    assert asked <= set(figures)
    for expression in expressions():
        for names, name in re.findall(r"\bby \(([^)]*)\) \((?:increase\()?(reprofarm_[a-z0-9_]+)", expression):
            assert {each.strip() for each in names.split(",")} <= figures[name] | GIVEN_BY_PROMETHEUS
        for name, selector in re.findall(r"\b(reprofarm_[a-z0-9_]+)\{([^}]*)\}", expression):
            assert {part.partition("=")[0].rstrip("=~!") for part in selector.split(",")} <= figures[
                name
            ] | GIVEN_BY_PROMETHEUS


def test_what_an_alert_counts_is_shown_on_a_panel() -> None:
    counted = {name for rule in alerts() for name in METRIC.findall(rule["expr"]) if name.endswith("_total")}
    assert "reprofarm_refused_messages_total" in counted
    assert counted <= {name for expression in panels() for name in METRIC.findall(expression)}


def test_a_count_goes_on_where_the_process_that_told_of_it_is_replaced(tmp_path: Path) -> None:
    texts = [each.replace("$namespace", FARM) for each in (*expressions(), (DOCS / "operations.md").read_text())]
    counts = {each[0]: each for text in texts for each in COUNT.finditer(text)}
    assert sum(text.count("increase(") for text in texts) == sum(len(COUNT.findall(text)) for text in texts)
    tests = []
    for expression, found in counts.items():
        name, selector, number, unit = found.groups()
        minutes = int(number) * {"h": 60, "d": 1440}[unit]
        # Half of what is looked back at.
        replaced = minutes * 3 // 2
        given = {"pool": "h100", "queue": "control", **dict(re.findall(r'(\w+)=~?"([^"|]*)', selector or ""))}
        labels = ",".join(f'{label}="{value}"' for label, value in given.items())
        series = [
            {"series": f'{name}{{instance="api-1",{labels}}}', "values": f"0+1x{replaced} stale"},
            {"series": f'{name}{{instance="api-3",{labels}}}', "values": f"_x{replaced} {replaced}+1x{minutes}"},
        ]
        # One a minute, or nearly: Prometheus reckons what lies before the first value that it sees and after the last.
        asked = f"max(abs({expression} / {minutes} - 1) < bool 0.05)"
        answer = {"expr": asked, "eval_time": f"{2 * minutes}m", "exp_samples": [{"labels": "{}", "value": 1}]}
        tests.append({"interval": "1m", "input_series": series, "promql_expr_test": [answer]})
    assert len(tests) > 10
    answers_as_expected(tests, tmp_path)


def test_every_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").strip().lower()).replace(" ", "-")
        for line in (DOCS / "runbooks.md").read_text().splitlines()
        if line.startswith("#")
    }
    for rule in alerts():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page.endswith("docs/runbooks.md")
        assert anchor in headings


def test_alerts_lead_to_the_pages_that_an_operator_names_and_without_a_chart_to_the_projects() -> None:
    links = {rule["annotations"]["runbook_url"] for rule in alerts(runbookUrl="https://wiki.test/farm")}
    assert {link.partition("#")[0] for link in links} == {"https://wiki.test/farm"}
    # Compose hands Prometheus the file as it is.
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    as_they_are = [rule["annotations"]["runbook_url"] for rule in group["rules"]]
    assert as_they_are == [rule["annotations"]["runbook_url"] for rule in alerts()]


def test_this_farm_is_missed_for_as_long_as_it_is_away_and_no_other_hides_that(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "reprofarm", "rules": alerts()}]}))
    gone = {**FINE, **TROUBLE["ReprofarmUnseen"], "reprofarm_database_up": "1+0x100"}
    found = firing_on_farms({FARM: gone, "staging": FINE}, tmp_path, alerts=file)
    assert set().union(*found.values()) == {"ReprofarmUnseen"}
    assert firing(FINE, tmp_path, alerts=file) == set()
    # By other labels than the ServiceMonitor's it may be there all the same.
    (unseen,) = (each for each in alerts(serviceMonitor={"enabled": False}) if each["alert"] == "ReprofarmUnseen")
    (as_it_is,) = (each for each in rules() if each["alert"] == "ReprofarmUnseen")
    assert unseen == as_it_is


def test_panels_show_the_farm_that_was_chosen_and_not_several_as_one() -> None:
    for expression in panels():
        assert len(METRIC.findall(expression)) == expression.count('{namespace=~"$namespace"')
    (choice,) = (each for each in dashboard()["templating"]["list"] if each["name"] == "namespace")
    # Grafana begins with the first that there is, and offers no two at once.
    assert not {"includeAll", "allValue", "multi", "current"} & choice.keys()
    # Without a label of its own compose's farm would be none of them.
    (scrape,) = yaml.safe_load(COMPOSE.read_text())["scrape_configs"]
    assert [set(each["labels"]) for each in scrape["static_configs"]] == [{"namespace"}]
