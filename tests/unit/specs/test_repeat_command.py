"""The command that repeats a run is one that Inspect's own command line takes."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from inspect_ai._cli.eval import eval_command
from inspect_ai._eval.task.hf import parse_task_spec
from inspect_ai._eval.task.util import split_spec
from inspect_ai._util.config import parse_cli_args

from specs.measurement import Circumstances
from specs.repeat_command import Repeated, folded_command, repeat_command
from tests.support.rows import measurement

ENGINE = (
    *("--served-model-name", "tiny/model", "--dtype", "bfloat16", "--seed", "0", "--generation-config", "vllm"),
    *("--disable-uvicorn-access-log", "--max-num-seqs", "32", "--enforce-eager"),
)


def repeated(task_id: str | None = "capitals", **generation: Any) -> Repeated:
    ran: Circumstances = measurement().circumstances
    changed = ran.generation.model_copy(update=generation)
    return Repeated(
        model_id="tiny/model",
        model_revision="a" * 40,
        dataset_id="acme/bench",
        dataset_revision="b" * 40,
        task_id=task_id,
        circumstances=ran.model_copy(update={"generation": changed, "engine_arguments": ENGINE, "epochs": 4}),
    )


def parsed(run: Repeated) -> dict[str, Any]:
    """What Inspect makes of it, by its own parser."""
    inspect, command, *arguments = shlex.split(repeat_command(run))
    assert (inspect, command) == ("inspect", "eval")
    return eval_command.make_context("eval", arguments).params


def test_inspect_takes_it_for_the_same_run() -> None:
    found = parsed(repeated(presence_penalty=-0.5, max_tokens=512, temperature=0.7))
    (task,) = found["tasks"]
    spec, revision = split_spec(task.removeprefix("hf/"))
    assert (parse_task_spec(spec), revision) == (("acme/bench", "capitals"), "b" * 40)
    assert found["model"] == "vllm/tiny/model"
    assert parse_cli_args(found["m"]) == {
        "revision": "a" * 40,
        "tokenizer_revision": "a" * 40,
        "dtype": "bfloat16",
        "seed": 0,
        "generation_config": "vllm",
        "max_num_seqs": 32,
        "enforce_eager": True,
    }
    assert (found["temperature"], found["presence_penalty"], found["max_tokens"]) == (0.7, -0.5, 512)
    assert (found["epochs"], found["limit"], found["seed"]) == (4, None, None)
    assert json.loads(found["extra_body"]) == {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


def test_the_folded_command_is_the_same_to_a_shell() -> None:
    run = repeated(presence_penalty=-0.5)
    folded = folded_command(run)
    assert shlex.split(folded.replace("\\\n", " ")) == shlex.split(repeat_command(run))
    assert all(line.startswith(("inspect eval hf/", "  -")) for line in folded.splitlines())


def test_what_the_spec_says_of_its_answers_is_not_said_to_judges() -> None:
    found = parsed(repeated(max_tokens=16, temperature=0.7, sources={"max_tokens": "spec", "temperature": "policy"}))
    assert found["max_tokens"] is None
    assert found["temperature"] == 0.7


def test_what_was_not_set_is_not_named() -> None:
    found = parsed(repeated(task_id=None))
    assert (found["max_tokens"], found["limit"]) == (None, None)
    assert found["tasks"] == (f"hf/acme/bench@{'b' * 40}",)


@pytest.mark.parametrize("task_id", ["$(reboot)", "a b", "'; reboot #", "`id`"])
def test_a_hostile_task_id_is_one_word_of_the_shell(task_id: str) -> None:
    assert parsed(repeated(task_id))["tasks"] == (f"hf/acme/bench/{task_id}@{'b' * 40}",)


def test_kernels_that_do_not_depend_on_the_batch_are_asked_for_again() -> None:
    run = repeated()
    invariant = run.circumstances.model_copy(update={"batch_invariant": True})
    plain = repeat_command(run)
    again = repeat_command(replace(run, circumstances=invariant))
    assert again == f"VLLM_BATCH_INVARIANT=1 {plain}"
