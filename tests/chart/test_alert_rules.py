"""Alerts as Prometheus itself reads them: each goes off where it should, and not where the farm is well."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.collect.retrying import PASSING
from specs.messages import AttemptOutcome

ALERTS = Path(__file__).parents[2] / "helm" / "reprofarm" / "files" / "alerts.yaml"
PROMTOOL = shutil.which("promtool")
NO_PROMTOOL = "promtool is not installed (Debian's package `prometheus`); tests of the alerts' rules need it"

FINE = {
    "reprofarm_database_up": "1+0x800",
    "reprofarm_outbox_age_seconds": "1+0x800",
    "reprofarm_reaper_age_seconds": "9+0x800",
    "reprofarm_unsigned_age_seconds": "2+0x800",
    "reprofarm_runs_awaiting_store": "0+0x800",
    "reprofarm_reproductions_set_aside": "0+0x800",
    'reprofarm_refused_messages_total{queue="control"}': "5+0x800",
    'reprofarm_queue_age_seconds{pool="h100",priority="author"}': "600+0x800",
    'reprofarm_queue_age_seconds{pool="h100",priority="periodic"}': "90000+60x800",
    'reprofarm_reproductions{pool="h100",state="queued"}': "3+0x800",
    'reprofarm_workers_wanted{pool="h100"}': "3+0x800",
    'reprofarm_workers{pool="h100",state="busy"}': "2+0x800",
    'reprofarm_workers{pool="h100",state="quarantined"}': "0+0x800",
    'reprofarm_worker_heartbeat_age_seconds{pool="h100"}': "9+0x800",
    'reprofarm_verdicts_total{outcome="verified"}': "0+1x800",
    'reprofarm_verdicts_total{outcome="failed"}': "5+0x800",
    "reprofarm_scan_age_seconds": "70+0x800",
    "reprofarm_scan_interval_seconds": "60+0x800",
    "reprofarm_publication_age_seconds": "2+0x800",
    'reprofarm_hub_requests_left{resource="api"}': "900+0x800",
    'reprofarm_hub_requests_quota{resource="api"}': "1000+0x800",
    'reprofarm_budget_left_gpu_seconds{scope="farm"}': "5000+0x800",
    'reprofarm_budget_gpu_seconds{scope="farm"}': "10000+0x800",
    'reprofarm_engine_loads_total{pool="h100"}': "0+1x800",
    'reprofarm_attempts_total{pool="h100",outcome="completed"}': "0+2x800",
    'reprofarm_attempts_total{pool="h100",outcome="disk_full"}': "0+1x800",
}
"""A farm that is well, a value a minute."""

TROUBLE: dict[str, dict[str, str]] = {
    "ReprofarmUnseen": {"reprofarm_database_up": "1+0x700"},
    "ReprofarmDatabaseAway": {"reprofarm_database_up": "0+0x800"},
    "ReprofarmMessagesUnsent": {"reprofarm_outbox_age_seconds": "121+60x800"},
    "ReprofarmStandsStill": {"reprofarm_reaper_age_seconds": "301+60x800"},
    "ReprofarmBadgesUnsigned": {"reprofarm_unsigned_age_seconds": "601+60x800"},
    "ReprofarmEvidenceStoreAway": {"reprofarm_runs_awaiting_store": "1+0x800"},
    "ReprofarmRunsSetAside": {"reprofarm_reproductions_set_aside": "1+0x800"},
    "ReprofarmMessagesRefused": {'reprofarm_refused_messages_total{queue="control"}': "5+1x800"},
    "ReprofarmQueueOld": {'reprofarm_queue_age_seconds{pool="h100",priority="author"}': "21601+60x800"},
    "ReprofarmPoolGetsNowhere": {
        # By one run, once it is tried no oftener than each hour.
        'reprofarm_attempts_total{pool="h100",outcome="disk_full"}': "0+0.0167x800",
        'reprofarm_attempts_total{pool="h100",outcome="completed"}': "9+0x800",
        'reprofarm_engine_loads_total{pool="h100"}': "0+0x800",
    },
    "ReprofarmPoolWithoutWorkers": {'reprofarm_workers{pool="h100",state="busy"}': "0+0x800"},
    "ReprofarmWorkerQuarantined": {'reprofarm_workers{pool="h100",state="quarantined"}': "1+0x800"},
    "ReprofarmVerdictsFail": {'reprofarm_verdicts_total{outcome="failed"}': "0+2x800"},
    "ReprofarmHeartbeatsUnread": {'reprofarm_worker_heartbeat_age_seconds{pool="h100"}': "301+60x800"},
    "ReprofarmHubNotScanned": {"reprofarm_scan_age_seconds": "1981+60x800"},
    "ReprofarmPublicationsLate": {"reprofarm_publication_age_seconds": "3601+60x800"},
    "ReprofarmHubLimitLow": {'reprofarm_hub_requests_left{resource="api"}': "99+0x800"},
    "ReprofarmBudgetSpent": {'reprofarm_budget_left_gpu_seconds{scope="farm"}': "-3+0x800"},
    "ReprofarmEnginesReloaded": {'reprofarm_engine_loads_total{pool="h100"}': "0+7x800"},
}
"""What is otherwise where an alert should go off."""

COUNTED_TWICE = ("api-1", "api-2")
"""Two API processes answer for one farm."""

FARM = "eval"
"""Its namespace. All but that is called the same in farms beside one another."""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def firing(values: dict[str, str], folder: Path, alerts: Path = ALERTS) -> set[str]:
    """The alerts of a file that are firing on one farm after twelve hours, as promtool says."""
    return set().union(*firing_on_farms({FARM: values}, folder, alerts).values())


def firing_on_farms(
    farms: dict[str, dict[str, str]],
    folder: Path,
    alerts: Path = ALERTS,
    at: Sequence[str] = ("12h",),
    looked_every: str = "10m",
) -> dict[str, set[str]]:
    """The same of each of several farms that one Prometheus watches, by namespace: "" where an alert names none.

    What is so at 12 hours has been for hours: rules that are looked at every ten minutes find the same in a tenth of
    the time. Where a value comes and goes they do not.
    """
    if PROMTOOL is None:
        pytest.skip(NO_PROMTOOL)
    series = [
        {"series": _of_instance(name, instance, farm), "values": each}
        for farm, values in farms.items()
        for name, each in values.items()
        for instance in COUNTED_TWICE
    ]
    # It compares with what is expected: nothing, so that it names what it found.
    expected = [{"eval_time": time, "alertname": rule["alert"], "exp_alerts": []} for time in at for rule in rules()]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(alerts)], "evaluation_interval": looked_every, "tests": [test]}))
    done = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    found: dict[str, set[str]] = {farm: set() for farm in farms}
    for labels in re.findall(r"Labels:\{(.*?)\}", said):
        told = dict(re.findall(r'(\w+)="(.*?)"', labels))
        found.setdefault(told.get("namespace", ""), set()).add(told["alertname"])
    assert any(found.values()) == (done.returncode != 0), said
    return found


def answers_as_expected(tests: list[dict[str, Any]], folder: Path) -> None:
    """Have Prometheus' language answer questions, each test's on series of its own, as promtool takes them."""
    if PROMTOOL is None:
        pytest.skip(NO_PROMTOOL)
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _of_instance(name: str, instance: str, farm: str = FARM) -> str:
    bare, brace, labels = name.partition("{")
    return f'{bare}{{instance="{instance}",job="farm-reprofarm-api",namespace="{farm}"{"," + labels if brace else "}"}'


def test_prometheus_takes_every_rule() -> None:
    if PROMTOOL is None:
        pytest.skip(NO_PROMTOOL)
    done = subprocess.run([PROMTOOL, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_goes_off_where_the_farm_is_well(tmp_path: Path) -> None:
    assert firing(FINE, tmp_path) == set()


@pytest.mark.parametrize("name", TROUBLE)
def test_an_alert_goes_off_where_it_should_and_no_other(name: str, tmp_path: Path) -> None:
    assert firing({**FINE, **TROUBLE[name]}, tmp_path) == {name}


def test_farms_beside_one_another_hide_no_trouble_and_have_none_of_anothers(tmp_path: Path) -> None:
    farms = {name.lower(): {**FINE, **trouble} for name, trouble in TROUBLE.items()}
    found = firing_on_farms({FARM: FINE, **farms}, tmp_path)
    assert found == {FARM: set(), **{name.lower(): {name} for name in TROUBLE}}


def test_a_farm_that_was_never_seen_or_not_for_long_is_noticed(tmp_path: Path) -> None:
    unseen = {name: values for name, values in FINE.items() if name != "reprofarm_database_up"}
    assert firing(unseen, tmp_path) == {"ReprofarmUnseen"}
    assert firing({**unseen, "reprofarm_database_up": "1+0x300"}, tmp_path) == {"ReprofarmUnseen"}


def test_a_limit_that_is_low_at_the_end_of_each_window_alerts_and_one_busy_window_does_not(tmp_path: Path) -> None:
    left = 'reprofarm_hub_requests_left{resource="api"}'
    full, busy = "1000 900 800 700 600 ", "1000 700 400 99 0 "
    farms = {
        "each": {**FINE, left: busy * 24},
        # As low as it can be for as long as it can be.
        "once": {**FINE, left: full * 20 + "0 0 0 0 0 " + full * 3},
        "never": {**FINE, left: full * 24},
    }
    times = [f"{minute}m" for minute in range(100, 120)]
    found = firing_on_farms(farms, tmp_path, at=times, looked_every="1m")
    assert found == {"each": {"ReprofarmHubLimitLow"}, "once": set(), "never": set()}


def over_after_two_hours(name: str, values: str) -> str:
    """A series of `TROUBLE` that is as it should be again: a gauge falls back, a counter stands still."""
    start, step = (float(each) for each in values.partition("x")[0].split("+"))
    well = f"{start + 120 * step:g}+0x680" if "_total" in name else FINE[name].replace("x800", "x680")
    return f"{start:g}+{step:g}x120 {well}"


def test_an_alert_is_over_when_the_trouble_is(tmp_path: Path) -> None:
    passed = {
        name.lower(): {series: over_after_two_hours(series, values) for series, values in trouble.items()}
        for name, trouble in TROUBLE.items()
    }
    found = firing_on_farms({farm: {**FINE, **values} for farm, values in passed.items()}, tmp_path)
    assert found == {farm: set() for farm in passed}


def test_a_worker_that_two_api_processes_tell_of_is_counted_once(tmp_path: Path) -> None:
    quarantined = 'reprofarm_workers{pool="h100",state="quarantined"}'
    series = [{"series": _of_instance(quarantined, each), "values": "1+0x60"} for each in COUNTED_TWICE]
    name = "ReprofarmWorkerQuarantined"
    (expr,) = (rule["expr"] for rule in rules() if rule["alert"] == name)
    samples = [{"labels": '{job="farm-reprofarm-api",namespace="eval",pool="h100"}', "value": 1}]
    asked = [{"expr": expr, "eval_time": "30m", "exp_samples": samples}]
    answers_as_expected([{"interval": "1m", "input_series": series, "promql_expr_test": asked}], tmp_path)


def test_one_drain_of_long_runs_is_no_pool_that_gets_nowhere(tmp_path: Path) -> None:
    drained = {
        'reprofarm_attempts_total{pool="h100",outcome="handed_back"}': "0+0x600 20+0x200",
        'reprofarm_attempts_total{pool="h100",outcome="disk_full"}': "0+0x800",
        'reprofarm_attempts_total{pool="h100",outcome="completed"}': "9+0x800",
        'reprofarm_engine_loads_total{pool="h100"}': "0+0x800",
    }
    assert firing({**FINE, **drained}, tmp_path) == set()


def test_attempts_in_vain_are_counted_on_where_api_processes_are_replaced(tmp_path: Path) -> None:
    if PROMTOOL is None:
        pytest.skip(NO_PROMTOOL)
    in_vain = 'reprofarm_attempts_total{pool="h100",outcome="disk_full"}'
    # One an hour, each API process there for an hour.
    series = [
        {"series": _of_instance(in_vain, f"api-{hour}"), "values": f"_x{60 * hour} {hour}+0x59 stale"}
        for hour in range(12)
    ]
    name = "ReprofarmPoolGetsNowhere"
    alert = {"eval_time": "11h30m", "alertname": name, "exp_alerts": []}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [alert]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "10m", "tests": [test]}))
    done = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert f'alertname="{name}"' in done.stdout + done.stderr


def test_what_may_go_round_without_end_is_what_uses_up_no_attempt() -> None:
    (expr,) = (rule["expr"] for rule in rules() if rule["alert"] == "ReprofarmPoolGetsNowhere")
    assert set(re.findall(r'outcome=~"(.*?)"', expr)) == {"|".join(each for each in AttemptOutcome if each in PASSING)}


def test_every_alert_is_tried() -> None:
    assert {rule["alert"] for rule in rules()} == set(TROUBLE)
