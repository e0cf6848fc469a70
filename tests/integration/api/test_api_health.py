from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path

import anyio
import httpx2
import pytest
from sqlalchemy import text

from scheduler.api.app import create_app
from scheduler.database.tables import HubLimit, now
from scheduler.metrics import collector
from scheduler.settings import Settings
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi, running_api
from tests.support.waiting import PATIENCE_SECONDS
from workers.processes.ports import free_port


def figures(api: RunningApi) -> dict[str, float]:
    lines = api.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_process_is_alive_whatever_it_depends_on(tmp_path: Path) -> None:
    with running_api(tmp_path, migrated=False, broker_url=f"redis://127.0.0.1:{free_port()}/0") as api:
        assert api.json("/healthz") == {"status": "ok"}


async def _answer_while_every_thread_waits(path: str, settings: Settings) -> httpx2.Response:
    over = threading.Event()

    def wait() -> None:
        over.wait()

    async with anyio.create_task_group() as waiting:
        for _ in range(int(anyio.to_thread.current_default_thread_limiter().total_tokens)):
            waiting.start_soon(anyio.to_thread.run_sync, wait)
        await anyio.wait_all_tasks_blocked()
        transport = httpx2.ASGITransport(create_app(settings))
        try:
            async with httpx2.AsyncClient(transport=transport, base_url="http://farm") as client:
                with anyio.fail_after(PATIENCE_SECONDS):
                    answer = await client.get(path)
        finally:
            over.set()
    return answer


def test_a_process_is_alive_while_all_its_threads_wait_for_a_slow_database() -> None:
    settings = Settings(database_url="sqlite://")
    assert anyio.run(_answer_while_every_thread_waits, "/healthz", settings).status_code == 200


def test_prometheus_hears_that_the_database_is_away_while_all_wait_for_one_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql+psycopg://farm@127.0.0.1:{silent.getsockname()[1]}/farm"
        settings = Settings(database_url=address)
        answer = anyio.run(_answer_while_every_thread_waits, "/metrics", settings)
    assert "reprofarm_database_up 0.0" in answer.text.splitlines()


def test_a_farm_whose_database_and_broker_answer_is_ready(tmp_path: Path, redis_url: str) -> None:
    with running_api(tmp_path, broker_url=redis_url) as api:
        assert api.json("/readyz") == {"status": "ready", "checks": {"database": "ok", "broker": "ok"}}


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with running_api(tmp_path, broker_url=url) as api:
        answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "broker": "does not answer (ConnectionError)"}
    assert "secret" not in answer.text


def test_a_database_that_is_not_migrated_is_named(tmp_path: Path, redis_url: str) -> None:
    with running_api(tmp_path, migrated=False, broker_url=redis_url) as api:
        answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["broker"] == "ok"
    assert "is empty: it has no tables of reprofarm's yet" in answer.json()["checks"]["database"]


def test_a_farm_whose_database_a_later_version_migrated_is_ready(tmp_path: Path, redis_url: str) -> None:
    with running_api(tmp_path, broker_url=redis_url) as api:
        with api.rows.database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert api.json("/readyz") == {"status": "ready", "checks": {"database": "ok", "broker": "ok"}}


def test_a_broker_url_that_is_none_is_a_broker_that_does_not_answer(tmp_path: Path) -> None:
    with running_api(tmp_path, broker_url="nonsense") as api:
        assert api.get("/readyz").json()["checks"]["broker"] == "does not answer (ValueError)"


def test_metrics_count_what_is_in_the_database(api: RunningApi) -> None:
    api.rows.verified()
    api.rows.decided(Outcome.FAILED)
    api.rows.planned(run={"pool": "h100"})
    api.rows.planned(run={"pool": "h100", "created_at": now()})
    api.rows.running()
    api.rows.claim(state=ClaimState.BLOCKED)
    api.rows.outbox()
    api.rows.outbox(sent_at=now())
    found = figures(api)
    wanted = {
        'reprofarm_claims{state="decided"}': 2,
        'reprofarm_claims{state="planned"}': 3,
        'reprofarm_claims{state="blocked"}': 1,
        'reprofarm_claims{state="withdrawn"}': 0,
        'reprofarm_verdicts_total{outcome="verified"}': 1,
        'reprofarm_verdicts_total{outcome="mismatch"}': 0,
        'reprofarm_reproductions{pool="h100",state="queued"}': 2,
        'reprofarm_reproductions{pool="cpu",state="running"}': 1,
        'reprofarm_reproductions{pool="h100",state="running"}': 0,
        "reprofarm_samples_counted_total": 200,
        "reprofarm_samples_population_total": 300,
        "reprofarm_outbox_unsent": 1,
        'reprofarm_badges{state="valid"}': 1,
        'reprofarm_badges{state="revoked"}': 0,
        "reprofarm_database_up": 1,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found['reprofarm_queue_age_seconds{pool="h100",priority="author"}'] > 3600
    assert found['reprofarm_queue_age_seconds{pool="h100",priority="community"}'] == 0
    assert found['reprofarm_queue_age_seconds{pool="cpu",priority="author"}'] == 0
    assert found["reprofarm_outbox_age_seconds"] > 3600
    assert found["process_resident_memory_bytes"] > 0


def test_text_from_outside_makes_no_series(api: RunningApi) -> None:
    before = set(figures(api))
    api.rows.claim("evil/model", dataset_id="evil/data", submitter="evil")
    assert {name for name in set(figures(api)) - before if name.startswith("reprofarm")} == set()


def test_metrics_still_answer_where_the_database_does_not(tmp_path: Path) -> None:
    with running_api(tmp_path, migrated=False) as api:
        found = figures(api)
    assert found["reprofarm_database_up"] == 0
    assert not [name for name in found if name.startswith("reprofarm_claims")]


def test_what_no_reproduction_is_in_any_more_counts_as_nothing(api: RunningApi) -> None:
    api.rows.reproduction(state=ReproductionState.CANCELLED)
    # Of another pool than policy's, which ends with its workers; policy's own may have none.
    api.rows.worker("w1@host", pool="h100")
    found = figures(api)
    for pool in ("cpu", "h100"):
        assert found[f'reprofarm_reproductions{{pool="{pool}",state="queued"}}'] == 0
        assert found[f'reprofarm_queue_age_seconds{{pool="{pool}",priority="author"}}'] == 0
        assert found[f'reprofarm_workers_wanted{{pool="{pool}"}}'] == 0


def test_what_runs_took_is_a_histogram_by_pool(api: RunningApi) -> None:
    for seconds in (50.0, 400.0, 200_000.0):
        run = api.rows.reproduction(state=ReproductionState.COMPLETED, gpu_seconds=seconds, attempt=1)
        api.rows.attempt(run, 1, outcome="completed", ended_at=now())
    found = figures(api)
    name = "reprofarm_reproduction_gpu_seconds"
    assert found[f'{name}_sum{{pool="cpu"}}'] == 200_450
    assert found[f'{name}_count{{pool="cpu"}}'] == 3
    assert [found[f'{name}_bucket{{le="{bound}",pool="cpu"}}'] for bound in ("60.0", "900.0", "86400.0", "+Inf")] == [
        1, 2, 2, 3,
    ]  # fmt: skip
    assert found['reprofarm_attempts_total{outcome="completed",pool="cpu"}'] == 3
    assert found['reprofarm_attempts_total{outcome="lost",pool="cpu"}'] == 0


def test_what_the_hub_still_answers_is_what_it_last_said(api: RunningApi) -> None:
    later = now() + timedelta(minutes=2)
    api.rows.add(HubLimit(resource="api", remaining=7, quota=1000, resets_at=later, seen_at=now()))
    api.rows.add(HubLimit(resource="pages", remaining=0, quota=200, resets_at=now(), seen_at=now()))
    api.rows.add(HubLimit(resource="resolvers", remaining=0, quota=None, resets_at=now(), seen_at=now()))
    found = figures(api)
    assert found['reprofarm_hub_requests_left{resource="api"}'] == 7
    assert found['reprofarm_hub_requests_left{resource="pages"}'] == 200, "its window is over"
    assert 'reprofarm_hub_requests_left{resource="resolvers"}' not in found, "nobody knows"
    assert found['reprofarm_hub_requests_quota{resource="api"}'] == 1000
