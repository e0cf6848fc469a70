"""Files of strangers: whatever is in them is read within limits, or refused in words that are safe to show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st
from inspect_ai._util.format import format_template

from specs.bounded_yaml import load
from specs.errors import PolicyError, YamlError
from specs.hub import eval_results, eval_yaml
from specs.hub.dataset_card import MAX_CONFIGS, sizes_of
from specs.hub.eval_results import is_result_path
from specs.hub.task_spec import SpecStatus
from specs.hub.templates import check_template
from specs.ids import is_repo_id, is_task_id
from specs.policy.rules import read_policy
from specs.text import clean, is_clean
from tests.support.fuzzing import JSON, fuzz, mutated_bytes, mutated_json
from tests.support.small_repos import SAY_SPEC, write_safetensors
from workers.errors import ModelError
from workers.snapshots.weights import check_weights, stored_parameters

POLICY = (Path(__file__).parents[2] / "deploy" / "policy.example.yaml").read_bytes()
CHOICES = {
    **SAY_SPEC["tasks"][0],
    "id": "choices",
    "field_spec": {"input": "q", "target": "a", "choices": ["x", "y"], "metadata": ["m"]},
    "solvers": [
        {"name": "system_message", "args": {"template": "Be {adjective}."}},
        {"name": "prompt_template", "args": {"template": "{prompt}"}},
        {"name": "multiple_choice", "args": {"template": "{question} {choices} {letters}"}},
        {"name": "generate", "args": {"temperature": 0.5}},
    ],
    "scorers": [
        {"name": "choice"},
        {"name": "pattern", "args": {"pattern": "(a)"}},
        {"name": "model_graded_qa", "args": {"model": "openai/o3-mini", "template": "{question}{answer}{criterion}"}},
    ],
    "epochs": 3,
    "epoch_reducer": "mode",
}
SPECS = (dict(SAY_SPEC), {**SAY_SPEC, "tasks": [*SAY_SPEC["tasks"], CHOICES]})
RESULTS = [
    {
        "dataset": {"id": "acme/say", "task_id": "say", "revision": "a" * 40},
        "value": 41.2,
        "date": "2026-01-02",
        "verifyToken": "a.b.c",
        "source": {"url": "https://hub.test/x.eval", "name": "x", "user": "u"},
        "notes": "temperature 0",
    }
]
CARD = {"dataset_info": [{"config_name": "c", "splits": [{"name": "test", "num_examples": 3}]}]}


def written(*values: object) -> st.SearchStrategy[bytes]:
    """YAML files with values like these, their bytes changed or their values."""
    good = [yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode() for value in values]
    return st.binary(max_size=300) | mutated_bytes(*good) | mutated_json(*values).map(_dump)


def _dump(value: object) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def _all_safe_to_show(texts: Iterable[str]) -> None:
    for text in texts:
        assert is_clean(text), repr(text)


def test_yaml() -> None:
    def check(text: bytes) -> None:
        with contextlib.suppress(YamlError):
            load(text)

    fuzz("bounded YAML", written(*SPECS, RESULTS) | mutated_bytes(POLICY), check)


def test_eval_yaml() -> None:
    def check(text: bytes) -> None:
        spec = eval_yaml.parse(text)
        assert spec.reasons or spec.status in {SpecStatus.RUNNABLE, SpecStatus.NEEDS_JUDGE}
        _all_safe_to_show((*spec.reasons, *spec.warnings, spec.name or "", spec.description or ""))
        _all_safe_to_show(text for task in spec.tasks for text in (*task.reasons, *task.warnings, task.id or ""))

    fuzz("eval.yaml", written(*SPECS), check)


def test_eval_results() -> None:
    def check(text: bytes) -> None:
        found = eval_results.parse(text)
        assert bool(found.entries) != bool(found.reasons)
        _all_safe_to_show(found.reasons)
        for entry in found.entries:
            assert (entry.claim is None) == bool(entry.reasons)
            _all_safe_to_show((*entry.reasons, *entry.warnings))
            if entry.claim is not None:
                _all_safe_to_show(value for value in entry.claim.model_dump().values() if isinstance(value, str))

    fuzz("eval results", written(RESULTS), check)


def test_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"

    def check(text: bytes) -> None:
        file.write_bytes(text)
        try:
            policy = read_policy(file)
        except PolicyError:
            return
        assert len(policy.sha256) == 64
        policy.rules_for("acme/say", "say")

    fuzz("policy", written(load(POLICY)) | mutated_bytes(POLICY), check)


def test_dataset_card() -> None:
    def check(card: object) -> None:
        found = sizes_of(card)
        assert len(found) <= MAX_CONFIGS
        assert all(count > 0 for splits in found.values() for count in splits.values())

    fuzz("dataset card", JSON | mutated_json(CARD), check)


def test_text_and_ids() -> None:
    def check(text: str) -> None:
        for most in (1, 20, 300):
            cleaned = clean(text, most)
            assert is_clean(cleaned)
            assert len(cleaned) <= most
        if is_repo_id(text):
            assert ".." not in text
            assert text.count("/") <= 1
        if is_task_id(text) or is_result_path(text):
            assert "\n" not in text
            assert "\x1b" not in text

    acting = st.lists(
        st.sampled_from(["\x1b[", "\x1b]0;", "\x9b", "31m", "\x07", "\u202e", "\n", "\u2028", "../", "a"])
    )
    fuzz("text and ids", st.text(max_size=400) | acting.map("".join), check)


def test_templates() -> None:
    known = {"question": "Q", "choices": "C"}

    def check(template: str) -> None:
        if not check_template(template, known, lenient=False).problems:
            template.format(**known)
        if not check_template(template, known, lenient=True).problems:
            format_template(template, known)

    parts = st.sampled_from(["{", "}", "question", "choices", "!r", ":", ".x", "[0]", "__class__", "9", "0", ">", "x"])
    fuzz("templates", st.text(max_size=60) | st.lists(parts, max_size=12).map("".join), check)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_safetensors(folder / "model.safetensors")
    return folder


def test_weights(weights: Path) -> None:
    file, index = weights / "model.safetensors", weights / "model.safetensors.index.json"
    good = file.read_bytes()

    def check(content: tuple[bytes, bytes]) -> None:
        file.write_bytes(content[0])
        index.write_bytes(content[1])
        with contextlib.suppress(ModelError):
            check_weights(weights)
            assert stored_parameters(weights) >= 0

    described = mutated_json({"weight": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}}).map(_safetensors)
    listed = mutated_bytes(b'{"weight_map": {"weight": "model.safetensors"}}')
    fuzz("safetensors", st.tuples(st.just(good) | mutated_bytes(good) | described, listed), check)


def _safetensors(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)
