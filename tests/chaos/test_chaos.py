"""The short form of `make chaos`: the most telling blows, one after the other on one farm of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.bench.postgres import NO_SERVER, postgres_programs
from tests.chaos.blows import Blow
from tests.chaos.cells import struck
from tests.chaos.farm import ChaosFarm, chaos_farm
from tests.chaos.stages import STAGERS
from tests.support.shared_runs import shared_runs

pytest.importorskip("psutil", reason="workers need the extra `run`")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosFarm]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip(NO_SERVER)
    with chaos_farm(tmp_path_factory.mktemp("chaos"), programs, runs=shared_runs().folder) as running:
        yield running


@pytest.mark.parametrize(
    ("stage", "blow"),
    [
        ("running", Blow("worker")),
        ("between samples", Blow("redis", loses_data=True)),
        ("reported", Blow("control")),
        ("running", Blow("engine")),
        ("late", Blow("postgresql")),
    ],
    ids=lambda each: each.name if isinstance(each, Blow) else each,
)
def test_a_farm_that_is_left_alone_after_a_blow_gets_every_verdict_right_and_tells_it_once(
    farm: ChaosFarm, stage: str, blow: Blow
) -> None:
    wrong = [cell for cell in struck(farm, STAGERS[stage], blow) if not cell.is_right]
    assert not wrong
