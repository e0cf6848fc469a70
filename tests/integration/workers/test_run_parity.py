"""A run asks, scores and sums up as `inspect eval hf/OWNER/NAME@REV` does: every file that can be run, and made ones.

The samples are the same. Both ask the same stand-in engine, which writes down what it is asked.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import value_to_float

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from specs.hub.eval_yaml import SpecStatus, parse
from specs.logs.evidence import path_in_store
from specs.messages import AttemptOutcome, Order, Report, TaskRef
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeEndpoint
from tests.support import inspect_run
from tests.support.localhub import RunningHub, running_hub
from tests.support.small_repos import write_model
from tests.support.spec_rows import data_files
from tests.support.worker_bench import MODEL, batch_of, bench, order, run, stand_in
from workers.snapshots.fetch import Snapshots

_GREEDY = GenerationSettings(temperature=0.0, top_p=1.0, max_tokens=24)
"""As `inspect_run.SETTINGS`."""

_VLLM_DEFAULTS = {
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""What the farm sends in so many words and Inspect leaves to vLLM."""

_ROWS, _FEW = 10, 5
"""Of every task that is made for this: all that an engine may say. Of one that has several epochs, or is a file's."""

_RULES = EngineRules(start_seconds=600.0, concurrency=1)
"""One question at a time: a stand-in's answers come in turn."""

_OPEN = {"input": "question", "target": "answer"}
_CHOICES = {"input": "question", "target": "answer", "choices": "options"}


def _made(scorer: str, *solvers: str | tuple[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A task in short; `args` are the scorer's."""
    steps = [{"name": each} if isinstance(each, str) else {"name": each[0], "args": each[1]} for each in solvers]
    scorers = [{"name": scorer, "args": more.pop("args", {})}]
    spec = _CHOICES if "multiple_choice" in str(solvers) else _OPEN
    return {"field_spec": spec, "solvers": steps, "scorers": scorers, **more}


_MADE = {
    "system": _made("includes", ("system_message", {"template": "Be brief, {name}. ñ", "name": "you"}), "generate"),
    "filled-in": _made(
        "includes",
        ("system_message", {"template": "{model}, {cache}.", "model": "Ada", "cache": "be brief"}),
        "generate",
    ),
    "thought": _made("match", "chain_of_thought", "generate", args={"location": "any", "ignore_case": False}),
    "asked-twice": _made(
        "answer", "generate", ("user_message", {"template": "Sure?"}), "generate", args={"pattern": "letter"}
    ),
    "line": _made("answer", "generate", args={"pattern": "line"}),
    "pattern": _made("pattern", "generate", args={"pattern": r"(answer \d)", "ignore_case": False}),
    "numeric": _made("match", "generate", args={"numeric": True}),
    "words": _made("f1", "generate", epochs=2, epoch_reducer="max"),
    "sampled": _made(
        "exact", ("generate", {"temperature": 0.7, "top_p": 0.5, "max_tokens": 7, "stop_seqs": ["#"], "seed": 3})
    ),
    "penalties": _made("exact", ("generate", {"presence_penalty": 0.5, "frequency_penalty": 0.25})),
    "critique": _made("includes", "generate", "self_critique"),
    "graded": _made("model_graded_qa", "generate", args={"partial_credit": True}, epochs=2, epoch_reducer="mode"),
    "fact": _made("model_graded_fact", "generate"),
    "graded-in-words": _made("model_graded_qa", "generate", args={"grade_pattern": r"(?i)\b(yes|no)\b"}),
    "two-scorers": {
        **_made("exact", "generate"),
        "scorers": [{"name": "f1"}, {"name": "includes"}, {"name": "f1", "args": {}}],
    },
    "metadata": {
        **_made("includes", ("prompt_template", {"template": "{kind} {prompt} {{x}} {unknown}"}), "generate"),
        "field_spec": {**_OPEN, "metadata": ["kind"]},
    },
    "cot": _made("choice", ("multiple_choice", {"cot": True})),
    "several": _made("choice", ("multiple_choice", {"multiple_correct": True})),
    "own-template": _made("choice", ("multiple_choice", {"template": "{letters}? {question}\n{choices}"})),
    "instructed": _made(
        "choice",
        ("system_message", {"template": "Pick."}),
        ("multiple_choice", {"max_tokens": 5}),
        shuffle_choices=True,
    ),
}
_REDUCED = {
    reducer: _made("choice", "multiple_choice", epochs=4, epoch_reducer=reducer)
    for reducer in ("mean", "mode", "at_least_2", "pass_at_2")
}


@dataclass(frozen=True)
class _Run:
    """One task, run by both."""

    epochs: int
    report: Report
    alone: dict[str, Any]
    farm_samples: list[dict[str, Any]]
    inspect_samples: list[dict[str, Any]]


@dataclass(frozen=True)
class _Runs:
    runs: dict[str, _Run]
    farm_asked: list[dict[str, Any]]
    inspect_asked: list[dict[str, Any]]


def _spec(made: Mapping[str, Any]) -> bytes:
    tasks = [{"id": name, "config": name, **task} for name, task in made.items()]
    return json.dumps({"name": "Made", "evaluation_framework": "inspect-ai", "tasks": tasks}).encode()


def _specs(shared: Path) -> Iterator[tuple[str, bytes, dict[str, bytes]]]:
    """The name, the text and the data of each benchmark."""
    yield "made", _spec(_MADE), _made_data(_spec(_MADE), _ROWS)
    yield "reduced", _spec(_REDUCED), _made_data(_spec(_REDUCED))
    for file in sorted((shared / "eval_yaml").glob("*.yaml")):
        text = file.read_bytes()
        if parse(text).status in {SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE}:
            yield file.stem.replace("__", "-"), text, _made_data(text)


def _made_data(text: bytes, rows: int = _FEW) -> dict[str, bytes]:
    return data_files([task.definition for task in parse(text).tasks if task.definition is not None], rows)


def _publish(hub: RunningHub, name: str, text: bytes, data: Mapping[str, bytes]) -> str:
    repo = RepoName(RepoType.DATASET, f"bench/{name}")
    hub.local.create_repo(repo)
    hub.local.commit(repo, {**data, "eval.yaml": text}, CommitText("Add the benchmark", "bench"))
    return str(HfApi(endpoint=hub.url, token=False).dataset_info(repo.id).sha)


def _samples(log: Path | str) -> list[dict[str, Any]]:
    """Those of a log, in the dataset's order."""
    found = [
        {
            "id": int(sample.id),
            "input": sample.input
            if isinstance(sample.input, str)
            else [message.model_dump(mode="json", exclude={"id"}) for message in sample.input],
            "choices": sample.choices,
            "target": sample.target,
            "metadata": sample.metadata,
        }
        for sample in read_eval_log(str(log), resolve_attachments=True).samples or []
        if sample.epoch == 1
    ]
    return sorted(found, key=lambda sample: int(sample["id"]))


def _asked(record: Path, since: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()[since:]]


@pytest.fixture(scope="module")
def runs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> _Runs:
    """Every task, run by the worker and by Inspect alone."""
    folder = tmp_path_factory.mktemp("run-parity")
    record = folder / "asked"
    model = write_model(folder / "model")
    with (
        running_hub(folder / "hub") as hub,
        bench(folder, model, stand_in("--record", str(record))) as workbench,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("REPROFARM_JUDGE_KEY", workbench.engines.api_key)
        engine = workbench.engines.engine_for(MODEL, model, _RULES, 0)
        judge = JudgeEndpoint(base_url=engine.base_url, model=MODEL.model_id, api_key_env="REPROFARM_JUDGE_KEY")
        snapshots = Snapshots(workbench.snapshots.folder, HfApi(endpoint=hub.url, token=False), 2**30)
        orders: dict[str, Order] = {}
        wanted, details = [], {}
        for name, text, data in _specs(shared_data):
            spec, revision = parse(text), _publish(hub, name, text, data)
            assert spec.status in {SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE}, (
                spec.reasons,
                [t.reasons for t in spec.tasks],
            )
            wanted.append(f"hf/bench/{name}@{revision}")
            for task in spec.tasks:
                ref = TaskRef(dataset_id=f"bench/{name}", revision=revision, task_id=task.id, spec_sha256=spec.sha256)
                snapshots.dataset(ref)
                judges = {each: judge for each in task.judges if each is not None}
                key = f"{name}/{task.id}"
                orders[key] = order(ref, f"r{len(orders)}", generation=_GREEDY, judges=judges)
                assert task.definition is not None
                details[key] = task.definition
        reports = run(workbench, batch_of(*orders.values(), engine=_RULES)).reports
        farm_asked = _asked(record)
        httpx2.post(f"{engine.base_url.removesuffix('/v1')}/forget").raise_for_status()
        alone = _inspect(folder, hub.url, engine.base_url, workbench.engines.api_key, wanted)
        inspect_asked = _asked(record, len(farm_asked))
    found = {}
    for (key, ordered), theirs in zip(orders.items(), alone, strict=True):
        definition = details[key]
        report = reports[ordered.ref.reproduction_id]
        assert report.evidence is not None, (key, report.detail)
        evidence = folder / "evidence" / path_in_store(report.evidence.sha256)
        found[key] = _Run(definition.epochs, report, theirs, _samples(evidence), _samples(theirs["log"]))
    return _Runs(found, farm_asked, inspect_asked)


def _inspect(folder: Path, hub: str, base_url: str, key: str, specs: list[str]) -> list[dict[str, Any]]:
    ended = subprocess.run(
        [sys.executable, str(inspect_run.__file__), MODEL.model_id, base_url, str(folder / "logs"), *specs],
        env={
            **os.environ,
            "HF_ENDPOINT": hub,
            "HF_HOME": str(folder / "hf"),
            "XDG_CACHE_HOME": str(folder / "xdg"),
            "VLLM_API_KEY": key,
            "JUDGE": f"openai-api/judge0/{MODEL.model_id}",
            "JUDGE0_BASE_URL": base_url,
            "JUDGE0_API_KEY": key,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    said: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return said


def _plain(body: Mapping[str, Any]) -> str:
    """A request without its seed, which differs by answer here, and without what is vLLM's default anyway.

    That an answer of ours is to come with its prompt (`workers.runs.template_guard`) changes nothing of it.
    """
    ours = {"seed", "return_prompt_text"}
    said = {name: value for name, value in body.items() if name not in ours and _VLLM_DEFAULTS.get(name) != value}
    return json.dumps(said, sort_keys=True)


def test_every_sample_is_the_same(runs: _Runs) -> None:
    assert len(runs.runs) >= 40
    for name, each in runs.runs.items():
        rows = _ROWS if name.startswith("made/") else _FEW
        assert len(each.inspect_samples) == rows, name
        assert each.farm_samples == each.inspect_samples, name


def test_choices_that_the_spec_shuffles_are_shuffled(runs: _Runs) -> None:
    diamond = runs.runs["gpqa/diamond"].farm_samples
    assert len({str(sample["target"]) for sample in diamond}) > 1, "unshuffled, every target would be D"


def test_both_ask_for_the_same(runs: _Runs) -> None:
    ours, theirs = Counter(map(_plain, runs.farm_asked)), Counter(map(_plain, runs.inspect_asked))
    assert sum(ours.values()) > 300
    # Before a run its judge is asked whether it is there.
    assert [json.loads(each)["messages"] for each in (ours - theirs).elements()] == [
        [{"role": "user", "content": "Hello"}]
    ]
    assert list((theirs - ours).elements()) == []


def test_every_answer_has_a_seed_of_its_own_unless_the_spec_gives_one(runs: _Runs) -> None:
    seeds = Counter(body.get("seed") for body in runs.inspect_asked)
    ours = Counter(body.get("seed") for body in runs.farm_asked)
    most = max(each.epochs * len(each.farm_samples) for each in runs.runs.values())
    assert set(ours) - {3, None} == set(range(5, 5 + most)), "of each epoch; a judge gets none"
    assert ours[3] == seeds[3] == _ROWS, "as the task `sampled` says"


def test_both_score_the_same(runs: _Runs) -> None:
    for name, each in runs.runs.items():
        found = each.report.measurement
        assert each.report.outcome is AttemptOutcome.COMPLETED, (name, each.report.detail)
        assert each.alone["status"] == "success", (name, each.alone["error"])
        assert found is not None
        first, *others = each.alone["metrics"]
        assert found.scorer == first["scorer"], name
        # None, where no answer of a benchmark has a score.
        assert found.score == pytest.approx(_number(_main(first))), name
        assert found.other_scorers == pytest.approx({other["scorer"]: _main(other) for other in others}), name
        if each.epochs == 1:
            theirs = {str(sample["id"]): _number(sample["score"]) for sample in each.alone["scores"]}
            ours = dict(zip(map(str, found.sample_ids), found.sample_scores, strict=True))
            assert ours == theirs, name


def _main(metrics: Mapping[str, float]) -> float:
    return metrics["accuracy"] if "accuracy" in metrics else metrics["mean"]


def _number(value: str | float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value_to_float()(value)
