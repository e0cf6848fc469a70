"""What is claimed on the demo's Hub, and what has to become of each claim."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.demo.benchmarks import CAPITALS, CONTINENTS, FRAMEWORK, OWNER, RETRIEVAL_ID, RETRIEVAL_TASK
from deploy.demo.measured import MEASURED
from deploy.demo.models import BROKEN, GOOD

PASSER_BY = "passer-by"
"""Opens a pull request on a model that is not theirs."""

INFLATED_BY = 0.3
"""Thirty points: several times what two honest runs of so few samples differ by."""


@dataclass(frozen=True)
class DemoClaim:
    """One submitted result file, with one entry."""

    label: str
    model: str
    filename: str
    text: str
    ends: str
    """The verdict, or `rejected`, which is the end of a file that cannot be read."""

    because: tuple[str, ...] = ()
    """What the reason has to say; without regard to case."""

    as_pull_request: bool = False

    @property
    def author(self) -> str:
        """Who submits it."""
        return PASSER_BY if self.as_pull_request else OWNER

    @property
    def path(self) -> str:
        """Where the file goes in the model's repo."""
        return f".eval_results/{self.filename}"


def demo_claims() -> tuple[DemoClaim, ...]:
    """All of them."""
    capitals = MEASURED[CAPITALS.dataset_id].score
    continents = MEASURED[CONTINENTS.dataset_id].score
    return (
        DemoClaim(
            "true, in percent, by the author",
            GOOD,
            "capitals.yaml",
            _entry(CAPITALS.dataset_id, CAPITALS.task_id, round(100 * capitals, 2)),
            "verified",
        ),
        DemoClaim(
            "true, as a fraction",
            GOOD,
            "continents.yaml",
            _entry(CONTINENTS.dataset_id, CONTINENTS.task_id, round(continents, 4)),
            "verified",
        ),
        DemoClaim(
            "30 points too high, by a passer-by",
            GOOD,
            "capitals-again.yaml",
            _entry(CAPITALS.dataset_id, CAPITALS.task_id, round(100 * (capitals + INFLATED_BY), 2)),
            "mismatch",
            as_pull_request=True,
        ),
        DemoClaim(
            "a task that the benchmark does not define",
            GOOD,
            "capitals-default.yaml",
            _entry(CAPITALS.dataset_id, "default", round(100 * capitals, 2)),
            "unsupported",
            because=(CAPITALS.task_id,),
        ),
        DemoClaim(
            "a benchmark of another framework",
            GOOD,
            "retrieval.yaml",
            _entry(RETRIEVAL_ID, RETRIEVAL_TASK, 0.31),
            "unsupported",
            because=(FRAMEWORK,),
        ),
        DemoClaim(
            "a file that is not YAML",
            GOOD,
            "notes.yaml",
            _entry(CAPITALS.dataset_id, CAPITALS.task_id, 50.0) + "  notes: Decoding: greedy\n",
            "rejected",
            because=("line 5", "quotes"),
        ),
        DemoClaim(
            "a model whose weights are broken",
            BROKEN,
            "capitals.yaml",
            _entry(CAPITALS.dataset_id, CAPITALS.task_id, round(100 * capitals, 2)),
            "failed",
            because=("model_failed", "attempted to load weight"),
        ),
    )


def _entry(dataset_id: str, task_id: str, value: float) -> str:
    return f"- dataset:\n    id: {dataset_id}\n    task_id: {task_id}\n  value: {value}\n"
