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
LONGEST = 65_536


@pytest.mark.parametrize(
    ("given", "longest", "names_length", "held"),
    [
        (2048, None, True, 2048),
        (ITS_OWN, None, True, None),
        (None, None, True, None),
        # It has more than an engine gives it that is not asked for more.
        (None, LONGEST, True, ITS_OWN),
        (16_384, LONGEST, True, 16_384),
        (LONGEST, LONGEST, True, None),
        # Nobody knows how long it is, so what the engine takes then is not the model's.
        (ITS_OWN, None, False, ITS_OWN),
        (None, None, False, ITS_OWN),
    ],
)
def test_whose_context_ended_the_answers_is_told(
    tmp_path: Path, databases: Databases, given: int | None, longest: int | None, names_length: bool, held: int | None
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
        own = {"context_tokens": ITS_OWN, "longest_tokens": longest, "names_length": names_length}
        config = size.config.model_copy(update=own)
        with farm.database.transaction() as session:
            model = session.scalars(select(Model)).one()
            model.size = size.model_copy(update={"config": config}).model_dump(mode="json")
        farm.plan()
        complete(farm, 60, truncated=150, circumstances={"generation": generation})
        with farm.database.reading() as session:
            verdict = session.scalars(select(VerdictRow)).one()
    assert verdict.outcome == (Outcome.MISMATCH if held is None else Outcome.INCONCLUSIVE)
    said = f"were cut off at the {held} tokens of context that the farm gave the model"
    assert (said in verdict.verdict["reason"]) == (held is not None)
