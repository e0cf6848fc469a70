"""What the farm reads on a Hub of a model's size, and where its claims go by it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from deploy.localhub.commits import Changes, CommitText
from deploy.localhub.names import RepoName
from scheduler.database.tables import Claim, Model, Reproduction
from specs.engines.model_config import READING
from specs.engines.model_size import ModelSize
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.policy.watch import WatchRules
from tests.support.databases import SQLITE, Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.models import CONFIGS
from tests.support.scheduler import ControlPlane, control_plane

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"
NOW = WatchRules(sweep_seconds=0.001)
CONFIG = (CONFIGS / "SmolLM2-135M-Instruct.json").read_bytes()
_HEADER = b'{"w": {"dtype": "F32", "shape": [4000], "data_offsets": [0, 16000]}}'
WEIGHTS = struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(16_000)


@contextmanager
def a_farm(folder: Path, databases: Databases) -> Iterator[ControlPlane]:
    policy = Policy(pools=(PoolRules(name="small", memory_gib=8), PoolRules(name="big", memory_gib=80, gpus=4)))
    with control_plane(folder, databases, policy) as plane:
        add_benchmark(plane.served.local, BENCHMARK)
        yield plane


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[ControlPlane]:
    """On SQLite; the tests whose queries are the point take `either`."""
    with a_farm(tmp_path, SQLITE) as plane:
        yield plane


@pytest.fixture
def either(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """The same on both kinds of databases."""
    with a_farm(tmp_path, databases) as plane:
        yield plane


def upload(farm: ControlPlane, **files: bytes) -> RepoName:
    """A model with a claim and these files; names have underscores for dots."""
    repo = add_model(farm.served.local, MODEL)
    change(farm, repo, **files)
    submit(farm.served.local, repo, entry(BENCHMARK, 79.5))
    return repo


def change(farm: ControlPlane, repo: RepoName, **files: bytes) -> None:
    named = {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    farm.served.local.commit(repo, named, CommitText("Change files", repo.namespace))


def size(farm: ControlPlane) -> ModelSize | None:
    with farm.database.reading() as session:
        kept = session.get_one(Model, MODEL).size
        return ModelSize.model_validate(kept, strict=False) if kept is not None else None


@contextmanager
def stored_size(farm: ControlPlane) -> Iterator[dict[str, Any]]:
    """The size that the farm keeps, to be changed."""
    with farm.database.transaction() as session:
        model = session.get_one(Model, MODEL)
        assert model.size is not None
        changed = dict(model.size)
        yield changed
        model.size = changed


def planned(farm: ControlPlane) -> tuple[Claim, Reproduction | None, str]:
    """The claim, its reproduction, and what its record says of where it goes."""
    farm.plan()
    (claim,) = farm.claims()
    if claim.reproduction_id is None:
        return claim, None, ""
    with farm.database.reading() as session:
        reproduction = session.get_one(Reproduction, claim.reproduction_id)
    return claim, reproduction, "; ".join(farm.reasons(claim.reproduction_id))


def test_the_size_is_read_with_the_model(either: ControlPlane) -> None:
    upload(either, model_safetensors=WEIGHTS, config_json=CONFIG)
    either.scan()
    found = size(either)
    assert found is not None
    assert found.counts == {"F32": 4000}
    assert found.config is not None
    assert (found.config.attention_heads, found.config.context_tokens) == (9, 8192)
    assert found.file_bytes > 16_000
    assert found.weights_bytes("auto") == 8000
    _, reproduction, words = planned(either)
    assert reproduction is not None
    assert (reproduction.pool, reproduction.settings["gpus"]) == ("small", 1)
    assert "planned for small, on 1 GPU:" in words
    assert "KV cache of 8192 tokens" in words


def test_a_config_is_asked_for_once_for_as_long_as_the_weights_stay(farm: ControlPlane) -> None:
    repo = upload(farm, model_safetensors=WEIGHTS, config_json=CONFIG)
    farm.scan(NOW)
    del farm.served.requests[:]
    submit(farm.served.local, repo, entry(BENCHMARK, 80.5))
    farm.scan(NOW)
    assert any(".eval_results" in request for request in farm.served.requests)
    assert not any("config.json" in request for request in farm.served.requests)
    change(farm, repo, config_json=CONFIG.replace(b"8192", b"4096"))
    farm.scan(NOW)
    found = size(farm)
    assert found is not None
    assert found.config is not None
    assert found.config.context_tokens == 4096


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"{}", "config.json has no num_hidden_layers"),
        (b"\xff\xfe no text", "config.json is no JSON"),
        (b"[" * 50_000, "config.json is no JSON"),
        (CONFIG.replace(b'"num_hidden_layers": 30', b'"num_hidden_layers": -1'), "num_hidden_layers is -1"),
        (b" " * (2**20 + 1), "config.json is larger than"),
    ],
)
def test_a_config_that_cannot_be_read_leaves_the_files_to_go_by(farm: ControlPlane, config: bytes, words: str) -> None:
    upload(farm, config_json=config)
    farm.scan()
    found = size(farm)
    assert found is not None
    assert found.config is None
    assert words in found.config_problem
    _, reproduction, said = planned(farm)
    assert reproduction is not None
    assert reproduction.pool == "small"
    assert "by its files' size alone" in said
    assert words in said


def test_a_file_of_modelopt_says_how_the_weights_are_packed(farm: ControlPlane) -> None:
    repo = upload(farm, config_json=CONFIG)
    packed = b'{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}'
    farm.served.local.commit(repo, {"hf_quant_config.json": packed}, CommitText("Pack", repo.namespace))
    farm.scan()
    found = size(farm)
    assert found is not None
    assert found.config is not None
    assert found.config.quantization == "modelopt_fp4"
    own = CONFIG.replace(
        b'"num_hidden_layers": 30', b'"num_hidden_layers": 30, "quantization_config": {"quant_method": "fp8"}'
    )
    change(farm, repo, config_json=own)
    farm.scan(NOW)
    found = size(farm)
    assert found is not None
    assert found.config is not None
    assert found.config.quantization == "fp8"


def test_a_file_of_modelopt_that_cannot_be_read_leaves_the_files_to_go_by(farm: ControlPlane) -> None:
    repo = upload(farm, config_json=CONFIG)
    broken = {"hf_quant_config.json": b"[" * 50_000}
    farm.served.local.commit(repo, broken, CommitText("Pack", repo.namespace))
    farm.scan()
    found = size(farm)
    assert found is not None
    assert found.config is None
    assert "hf_quant_config.json is no JSON" in found.config_problem


def test_weights_below_the_top_level_are_none(farm: ControlPlane) -> None:
    repo = upload(farm, original__model_safetensors=b"x" * 100, consolidated_safetensors=b"x" * 100)
    farm.scan()
    before = size(farm)
    assert before is not None
    assert before.file_bytes < 200
    gone = Changes(removed_files=["model.safetensors"])
    farm.served.local.commit_changes(repo, gone, CommitText("Remove the weights", repo.namespace), revision="main")
    farm.scan(NOW)
    claim, _, _ = planned(farm)
    assert claim.reason.startswith("unsupported: the model repo's weights are in Mistral's own format alone")
    gone = Changes(removed_files=["consolidated.safetensors"])
    farm.served.local.commit_changes(repo, gone, CommitText("Remove these too", repo.namespace), revision="main")
    farm.scan(NOW)
    assert size(farm) is None


@pytest.mark.parametrize(("name", "said"), [("consolidated.safetensors", "hf"), ("params.json", None)])
def test_a_model_with_mistrals_own_files_is_served_by_those_of_transformers(
    farm: ControlPlane, name: str, said: str | None
) -> None:
    repo = upload(farm, model_safetensors=WEIGHTS, config_json=CONFIG)
    farm.served.local.commit(repo, {name: b"{}"}, CommitText("Add Mistral's", repo.namespace))
    farm.scan()
    _, reproduction, _ = planned(farm)
    assert reproduction is not None
    assert reproduction.settings["engine"].get("model_format") == said


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_is_not_run_as_the_model_beside_it(farm: ControlPlane, name: str) -> None:
    repo = upload(farm, config_json=CONFIG)
    farm.served.local.commit(repo, {name: b"{}"}, CommitText("Add an adapter", repo.namespace))
    farm.scan()
    claim, reproduction, _ = planned(farm)
    assert reproduction is None
    assert claim.reason.startswith("unsupported: ")
    assert "an adapter (LoRA, adapter_config.json)" in claim.reason
    farm.served.local.commit_changes(
        repo, Changes(removed_files=[name]), CommitText("Remove it", repo.namespace), revision="main"
    )
    farm.scan(NOW)
    assert size(farm) is not None


def test_a_model_that_has_another_one_loaded_is_not_run_under_its_name(farm: ControlPlane) -> None:
    helper = {"speculators_config": {"verifier": {"name_or_path": "/cache/hub/models--big/snapshots/abc"}}}
    repo = upload(farm, config_json=json.dumps(helper).encode())
    farm.scan()
    claim, reproduction, _ = planned(farm)
    assert reproduction is None
    assert claim.reason.startswith("unsupported: config.json has speculators_config: an engine would load the model")
    change(farm, repo, config_json=CONFIG)
    farm.scan(NOW)
    found = size(farm)
    assert found is not None
    assert found.elsewhere == ""


@pytest.mark.parametrize(
    "beside", ["tokenizer_config.json", "tiktoken.model", "tokenization_kimi.py", "other/tokenizer.json"]
)
def test_a_model_whose_tokenizer_comes_with_code_alone_is_not_fetched_to_fail(farm: ControlPlane, beside: str) -> None:
    repo = upload(farm, config_json=CONFIG)
    code = Changes(blobs={beside: b"{}"}, removed_files=["tokenizer.json"])
    farm.served.local.commit_changes(repo, code, CommitText("Tokenize by code", repo.namespace), revision="main")
    farm.scan()
    claim, reproduction, _ = planned(farm)
    assert reproduction is None
    assert claim.reason.startswith(
        "unsupported: the model repo has no tokenizer that loads without code (tokenizer.json,"
    )
    farm.served.local.commit(repo, {"tokenizer.model": b"words"}, CommitText("Add a tokenizer", repo.namespace))
    farm.scan(NOW)
    found = size(farm)
    assert found is not None
    assert found.elsewhere == ""


def test_what_is_too_big_is_unsupported_with_the_figures(farm: ControlPlane) -> None:
    upload(farm, config_json=(CONFIGS / "DeepSeek-V3.json").read_bytes())
    farm.scan()
    with stored_size(farm) as stored:
        stored["file_bytes"] = 688_586_727_753
    claim, _, _ = planned(farm)
    assert claim.reason.startswith("unsupported: ")
    assert "641 GiB for weights" in claim.reason
    assert "pool big gives 294 GiB (92 % of 4 × 80 GiB)" in claim.reason


def test_what_an_earlier_version_read_in_the_same_files_is_read_again(farm: ControlPlane) -> None:
    upload(farm, config_json=CONFIG)
    farm.scan()
    now_read = size(farm)
    for since, expected in ((READING - 1, True), (READING, False)):
        with farm.database.transaction() as session:
            model = session.get_one(Model, MODEL)
            otherwise = {"config": None, "config_problem": "config.json: intermediate_size must be a whole number"}
            model.size, model.size_reading = {**(model.size or {}), **otherwise}, since
        farm.scan(NOW)
        assert (size(farm) == now_read) is expected


def test_a_model_from_before_sizes_were_kept_is_placed_by_its_files_and_looked_at_again(either: ControlPlane) -> None:
    upload(either, config_json=CONFIG)
    either.scan()
    with either.database.transaction() as session:
        session.execute(update(Model).values(size=None, size_reading=0))
    _, _, said = planned(either)
    assert "its config.json was not looked at yet" in said
    either.scan(NOW)
    found = size(either)
    assert found is not None
    assert found.config is not None
