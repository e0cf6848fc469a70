"""What a run asks the engine for: a spec's settings go with the requests that they are for, and with no others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specs.messages import AttemptOutcome, Report
from specs.policy.generation import GenerationSettings
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in

POLICY = GenerationSettings(temperature=0.0, max_tokens=500, top_k=40, min_p=0.1)
ROWS = [{"question": "Say: yes", "answer": "yes"}]


def _asked(
    tmp_path: Path, task: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = ROWS
) -> tuple[Report, list[Any]]:
    """The report of a run of that task, and the requests that its engine got."""
    spec = {**SAY_SPEC, "tasks": [{**SAY_SPEC["tasks"][0], **task}]}
    asked = tmp_path / "asked"
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--record", str(asked))) as workbench:
        snapshot = write_dataset(tmp_path / "say", rows, spec)
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
        report = run(workbench, batch_of(order(task_ref(snapshot), generation=POLICY))).reports["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    return report, [json.loads(line) for line in asked.read_text().splitlines()]


def test_a_model_that_judges_itself_is_not_held_to_the_settings_of_its_answers(tmp_path: Path) -> None:
    settings = {"max_tokens": 7, "temperature": 0.5, "top_k": 3, "stop_seqs": ["###"], "seed": 11}
    judge = {"template": "{question} {answer} {criterion} {instructions}", "instructions": "Say: GRADE: C"}
    report, (answer, grade) = _asked(
        tmp_path,
        {
            "solvers": [{"name": "generate", "args": settings}],
            "scorers": [{"name": "model_graded_qa", "args": judge}],
        },
    )
    assert "GRADE" not in str(answer["messages"])
    assert (answer["max_tokens"], answer["temperature"], answer["stop"], answer["seed"]) == (7, 0.5, ["###"], 11)
    assert (answer["top_k"], answer["min_p"], answer["repetition_penalty"]) == (3, 0.1, 1.0)
    assert "GRADE" in str(grade["messages"])
    assert (grade["max_tokens"], grade["temperature"], grade["top_k"], grade["min_p"]) == (500, 0.0, 40, 0.1)
    assert "stop" not in grade
    assert report.measurement is not None
    generation = report.measurement.circumstances.generation
    assert (generation.max_tokens, generation.temperature, generation.top_k, generation.seed) == (7, 0.5, 3, 11)


def test_of_two_questions_to_the_model_each_has_its_own_settings_and_the_last_ones_are_recorded(tmp_path: Path) -> None:
    report, asked = _asked(
        tmp_path,
        {
            "solvers": [
                {"name": "generate", "args": {"temperature": 0.9, "top_k": 3, "seed": 11}},
                {"name": "user_message", "args": {"template": "Sure? Say: yes"}},
                {"name": "generate", "args": {"max_tokens": 9}},
            ]
        },
        rows=ROWS * 2,
    )
    first, last = ([each for each in asked if ("Sure" in str(each["messages"])) is later] for later in (False, True))
    assert [(each["temperature"], each["max_tokens"], each["top_k"]) for each in first] == [(0.9, 500, 3)] * 2
    assert [(each["temperature"], each["max_tokens"], each["top_k"]) for each in last] == [(0.0, 9, 40)] * 2
    assert [each["seed"] for each in first] == [11, 11]
    assert sorted(each["seed"] for each in last) == [5, 6], "each answer has one of its own"
    assert report.measurement is not None
    generation = report.measurement.circumstances.generation
    assert (generation.temperature, generation.max_tokens, generation.top_k, generation.seed) == (0.0, 9, 40, 5)
    assert (generation.sources["temperature"], generation.sources.get("seed")) == ("policy", None)


def test_a_specs_limit_beyond_the_context_is_sent_as_the_context_since_vllm_would_refuse_it(tmp_path: Path) -> None:
    report, (asked,) = _asked(tmp_path, {"solvers": [{"name": "generate", "args": {"max_tokens": 32_768}}]})
    assert asked["max_tokens"] == 2048, "the stand-in's context, and not policy's limit"
    assert report.measurement is not None
    assert report.measurement.score == 1.0
