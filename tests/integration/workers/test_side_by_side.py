"""Several orders of a batch on one engine at once; each ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from specs.messages import AttemptOutcome, Order, Stage
from specs.policy.engine import EngineRules
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.worker_bench import Heard, batch_of, bench, engine_words, order, remember_snapshot, run, stand_in
from workers.batches.flow_control import first_limit
from workers.batches.workbench import Workbench

AT_ONCE = 8
ASKED = first_limit(AT_ONCE)
RULES = EngineRules(start_seconds=600.0, concurrency=AT_ONCE)


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    engine = stand_in("--slow-seconds", "0.3", "--in-flight", str(tmp_path / "in-flight"))
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as opened:
        yield opened


def _order(workbench: Workbench, name: str, questions: list[str], **more: Any) -> Order:
    cache = workbench.settings.cache_folder
    snapshot = write_dataset(cache.parent / name, [{"question": each, "answer": "yes"} for each in questions])
    remember_snapshot(cache, "dataset", f"bench/{name}", snapshot)
    return order(task_ref(snapshot, dataset_id=f"bench/{name}"), name, **more)


def _slow(count: int) -> list[str]:
    return [f"{number} [slow] Say: yes" for number in range(count)]


def _starts(workbench: Workbench) -> int:
    return engine_words(workbench).count("stand-in up")


def _outcomes(heard: Heard) -> dict[str, AttemptOutcome]:
    return {name: report.outcome for name, report in heard.reports.items()}


def test_runs_are_at_it_at_once_and_together_ask_little_more_than_the_engine_takes(
    workbench: Workbench, tmp_path: Path
) -> None:
    orders = [_order(workbench, name, _slow(80)) for name in ("one", "two", "three")]
    heard = run(workbench, batch_of(*orders, engine=RULES, side_by_side=2))
    assert set(_outcomes(heard).values()) == {AttemptOutcome.COMPLETED}, heard.reports
    assert _starts(workbench) == 1
    at_once = [
        {each.ref.reproduction_id for each in beat.progress if each.stage is Stage.RUNNING} for beat in heard.beats
    ]
    assert {"one", "two"} in at_once
    assert max(map(len, at_once)) == 2
    in_flight = sorted(sum(map(int, line.split())) for line in (tmp_path / "in-flight").read_text().splitlines())
    assert in_flight[-1] < 2 * ASKED, "while a share shrinks, what it has in flight is answered still"
    assert in_flight[len(in_flight) * 3 // 4] <= ASKED
    measured = [heard.reports[name].measurement for name in ("one", "two", "three")]
    assert all(each is not None and each.score == 1.0 for each in measured)
    assert measured[0] is not None
    assert measured[0].engine_share < 1.0


def test_an_engine_that_dies_fails_what_ran_on_it_once_and_the_rest_gets_a_new_one(workbench: Workbench) -> None:
    deadly = _order(workbench, "deadly", ["[slow] Say: yes"] * 8 + ["[die]"])
    beside = _order(workbench, "beside", ["[hang]"])
    after = _order(workbench, "after", ["Say: yes"])
    heard = run(workbench, batch_of(deadly, beside, after, engine=RULES, side_by_side=2))
    assert _outcomes(heard) == {
        "deadly": AttemptOutcome.ENGINE_FAILED,
        "beside": AttemptOutcome.ENGINE_FAILED,
        "after": AttemptOutcome.COMPLETED,
    }
    assert _starts(workbench) == 2


def test_what_is_suspect_runs_alone(workbench: Workbench) -> None:
    orders = [_order(workbench, "deadly", ["[die]"]), _order(workbench, "beside", _slow(4))]
    alone = [each.model_copy(update={"alone": True}) for each in orders]
    heard = run(workbench, batch_of(*alone, engine=RULES, side_by_side=2))
    assert _outcomes(heard) == {"deadly": AttemptOutcome.ENGINE_FAILED, "beside": AttemptOutcome.COMPLETED}


def test_one_that_stalls_leaves_the_other_its_engine_and_the_next_gets_a_new_one(tmp_path: Path) -> None:
    # Longer than a stall, in which this engine does not say that it generates.
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--slow-seconds", "4.0")) as workbench:
        stalls = _order(workbench, "stalls", ["[hang]"], stall_seconds=1.0)
        works = _order(workbench, "works", _slow(2 * AT_ONCE))
        after = _order(workbench, "after", ["Say: yes"])
        heard = run(workbench, batch_of(stalls, works, after, engine=RULES, side_by_side=2))
        assert _starts(workbench) == 2
    assert _outcomes(heard) == {
        "stalls": AttemptOutcome.STALLED,
        "works": AttemptOutcome.COMPLETED,
        "after": AttemptOutcome.COMPLETED,
    }
    assert next(iter(heard.reports)) == "stalls"


def test_one_that_is_dropped_ends_by_itself(workbench: Workbench) -> None:
    orders = [_order(workbench, "gone", ["[hang]"]), _order(workbench, "stays", ["Say: yes"])]
    batch = batch_of(*orders, engine=RULES, side_by_side=2)
    workbench.dropped.mark(batch.batch_id, orders[0].ref)
    heard = run(workbench, batch)
    assert _outcomes(heard) == {"stays": AttemptOutcome.COMPLETED}


def test_all_that_run_are_handed_back(workbench: Workbench) -> None:
    workbench.stop_mark.set()
    orders = [_order(workbench, name, ["[hang]"]) for name in ("one", "two", "three")]
    heard = run(workbench, batch_of(*orders, engine=RULES, side_by_side=2))
    assert _outcomes(heard) == dict.fromkeys(("one", "two", "three"), AttemptOutcome.HANDED_BACK)


def test_an_engine_with_less_room_than_was_reckoned_is_kept_with_a_short_queue(tmp_path: Path) -> None:
    engine = stand_in("--slow-seconds", "1.0", "--at-once", "3", "--in-flight", str(tmp_path / "in-flight"))
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as workbench:
        heard = run(workbench, batch_of(_order(workbench, "one", _slow(60)), engine=RULES))
    assert _outcomes(heard) == {"one": AttemptOutcome.COMPLETED}
    waited = [int(line.split()[1]) for line in (tmp_path / "in-flight").read_text().splitlines()]
    assert max(waited) == ASKED - 3
    later = waited[len(waited) // 2 :]
    assert sum(later) / len(later) < ASKED - 3 - 2
