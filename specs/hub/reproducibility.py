"""What makes a runnable eval.yaml hard to reproduce, said so that its author can act on it."""

from __future__ import annotations

import re

from specs.hub.task_spec import SpecStatus, TaskSpec, gives_one_seed
from specs.text import clean

# A judge that says which it is: a dated snapshot (o3-mini-2025-01-31, claude-3-5-sonnet-20241022), a commit, a tag.
_PINNED_MODEL = re.compile(r"(?:20\d{2}-?[01]\d-?[0-3]\d|@[\w.\-]+\Z|\b[0-9a-f]{40}\b)")
_UNIT = re.compile(r"percent|per cent|%|\b0 to 1\b|\b0-1\b|\b0 to 100\b|\b0-100\b|fraction|proportion", re.IGNORECASE)
_RANDOMNESS_SETTINGS = frozenset({"temperature", "top_p", "top_k", "seed"})


def warnings_for(task: TaskSpec, *, description: str | None = None, is_gated: bool | None = None) -> list[str]:
    """Warnings about one task; none for a task that can't be run at all.

    `description` is the eval.yaml's, `is_gated` whether its dataset is (None: not known).
    """
    definition = task.definition
    if definition is None or task.status not in (SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE):
        return []
    warnings = []
    if definition.shuffle_choices:
        warnings.append(
            "shuffle_choices has no seed: every run orders the choices anew; store them shuffled in the dataset instead"
        )
    if None in task.judges:
        warnings.append(
            "no judge is named, so every model judges itself and scores cannot be compared; "
            "name one in the scorer's args.model"
        )
    warnings += [
        f"the judge {clean(judge, 100)} can change behind its name; name a dated snapshot of it"
        for judge in task.judges
        if judge is not None and not _PINNED_MODEL.search(judge)
    ]
    if not any(_RANDOMNESS_SETTINGS & step.args.keys() for step in definition.solvers if step.name == "generate"):
        warnings.append(
            "no sampling settings, so each run takes those of its engine or model; "
            "give generate's args (temperature, top_p), or say in the description which ones count"
        )
    if definition.epochs > 1 and gives_one_seed(definition):
        warnings.append(
            f"one seed for all {definition.epochs} epochs: each samples what the others do; leave the seed out"
        )
    if is_gated:
        warnings.append("the dataset is gated: who re-runs this needs a token that accepted its terms")
    if len(definition.scorers) > 1:
        names = ", ".join(scorer.name for scorer in definition.scorers)
        warnings.append(f"there are several scorers ({names}); say in the description which one a submitted value is")
    if not _UNIT.search(description or ""):
        warnings.append(
            "the unit of a submitted value is unclear; say in the description whether it is a percentage or a fraction"
        )
    return warnings
