"""Answers that ended where the farm's context does, which is shorter than the model's, are no mismatch."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from deploy.localhub.names import RepoName, RepoType
from scheduler.database.tables import Model, VerdictRow
from specs.judging.verdict import Outcome
from specs.policy.rules import Policy
from tests.support.databases import Databases
from tests.support.deciding import complete
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.models import size_of
from tests.support.rows import measurement
from tests.support.scheduler import control_plane

MODEL = "tiny/model"
ITS_OWN = 8192


@pytest.mark.parametrize(
    ("given", "outcome"), [(2048, Outcome.INCONCLUSIVE), (ITS_OWN, Outcome.MISMATCH), (None, Outcome.MISMATCH)]
)
def test_whose_context_ended_the_answers_is_told(
    tmp_path: Path, databases: Databases, given: int | None, outcome: Outcome
) -> None:
    policy = Policy.model_validate({"version": 1, "engine": {"max_model_len": given}})
    generation = measurement().circumstances.generation.model_copy(update={"max_tokens": None})
    with control_plane(tmp_path, databases, policy=policy) as farm:
        add_benchmark(farm.served.local, "acme/capitals")
        add_model(farm.served.local, MODEL)
        submit(farm.served.local, RepoName(RepoType.MODEL, MODEL), entry("acme/capitals", 90))
        farm.scan()
        size = size_of("SmolLM2-135M-Instruct")
        assert size.config is not None
        config = size.config.model_copy(update={"context_tokens": ITS_OWN, "longest_tokens": None})
        with farm.database.transaction() as session:
            model = session.scalars(select(Model)).one()
            model.size = size.model_copy(update={"config": config}).model_dump(mode="json")
        farm.plan()
        complete(farm, 60, truncated=150, circumstances={"generation": generation})
        with farm.database.reading() as session:
            verdict = session.scalars(select(VerdictRow)).one()
    assert verdict.outcome == outcome
    held = "were cut off at the 2048 tokens of context that the farm gave the model"
    assert (held in verdict.verdict["reason"]) == (outcome is Outcome.INCONCLUSIVE)
