"""What the demo puts on its Hub: files that are what they should be, whatever the farm makes of them later."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from deploy.demo.benchmarks import CAPITALS, CONTINENTS, RETRIEVAL_ID, RUNNABLE, questions_sha256, write_benchmarks
from deploy.demo.claims import demo_claims
from deploy.demo.content import FARM_USER, fill_hub
from deploy.demo.facts import largest_countries
from deploy.demo.measured import MEASURED
from deploy.demo.models import BROKEN, GOOD
from specs.hub import eval_results, eval_yaml
from specs.hub.dataset_card import samples_of, sizes_of
from specs.hub.eval_yaml import SpecStatus
from specs.hub.frameworks import unsupported_sentence
from specs.hub.submission import SubmissionStatus
from tests.support.localhub import running_hub
from workers.snapshots.weights import check_weights


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A folder like a model's, with a norm and a matrix."""
    safetensors = pytest.importorskip("safetensors.numpy", reason="the extra `run` is not installed")
    numpy = pytest.importorskip("numpy")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    tensors = {
        "norm.weight": numpy.arange(64, dtype="float16"),
        "matrix.weight": numpy.zeros((128, 64), dtype="float16"),
    }
    safetensors.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_there_are_questions_enough_and_each_has_its_own_answer() -> None:
    countries = largest_countries()
    assert len(countries) == 150
    assert len({country.code for country in countries}) == 150
    assert len({country.capital for country in countries}) == 150
    # A question that holds its answer would be answered by repeating it.
    assert not [country for country in countries if country.capital in country.name or country.name in country.capital]


def test_both_benchmarks_are_runnable_and_heed_every_advice(tmp_path: Path) -> None:
    folders = write_benchmarks(tmp_path)
    for benchmark in RUNNABLE:
        spec = eval_yaml.parse((folders[benchmark.dataset_id] / "eval.yaml").read_bytes())
        assert spec.status is SpecStatus.RUNNABLE
        assert [task.id for task in spec.tasks] == [benchmark.task_id]
        assert (spec.warnings, [task.warnings for task in spec.tasks]) == ((), [()])


def test_the_cards_say_how_many_questions_there_are(tmp_path: Path) -> None:
    for folder in write_benchmarks(tmp_path).values():
        card = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
        assert samples_of(sizes_of(card), "default", "test") == 150


def test_the_third_benchmark_is_of_another_framework(tmp_path: Path) -> None:
    spec = eval_yaml.parse((write_benchmarks(tmp_path)[RETRIEVAL_ID] / "eval.yaml").read_bytes())
    assert spec.status is SpecStatus.UNSUPPORTED
    assert spec.reasons == (unsupported_sentence("mteb"),)


def test_the_true_scores_were_measured_on_these_questions() -> None:
    # Otherwise: python -m deploy.demo.measure
    assert {name: measured.questions_sha256 for name, measured in MEASURED.items()} == {
        benchmark.dataset_id: questions_sha256(benchmark) for benchmark in RUNNABLE
    }


def test_one_leaderboard_is_in_percent_and_the_other_all_fractions() -> None:
    values: dict[str, list[float]] = {CAPITALS.dataset_id: [], CONTINENTS.dataset_id: []}
    for claim in demo_claims():
        if claim.ends != "rejected":
            (entry,) = yaml.safe_load(claim.text)
            values.setdefault(entry["dataset"]["id"], []).append(entry["value"])
    assert min(values[CAPITALS.dataset_id]) > 1
    assert max(values[CONTINENTS.dataset_id]) <= 1


def test_one_result_file_is_malformed_and_the_others_are_not() -> None:
    for claim in demo_claims():
        found = eval_results.parse(claim.text.encode())
        rejected = found.reasons or [each for each in found.entries if each.status is SubmissionStatus.REJECTED]
        assert bool(rejected) == (claim.ends == "rejected"), claim.label


def test_everything_is_on_the_hub_and_the_farm_may_write(tiny_model: Path, tmp_path: Path) -> None:
    token = fill_hub(tmp_path / "hub", tiny_model, tmp_path / "scratch")
    with running_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.url, token=token)
        assert api.whoami()["name"] == FARM_USER
        found = {info.id for info in api.list_datasets(filter="benchmark:official")}
        assert found == {CAPITALS.dataset_id, CONTINENTS.dataset_id, RETRIEVAL_ID}
        (opened,) = api.get_repo_discussions(GOOD, discussion_type="pull_request")
        for claim in demo_claims():
            revision = f"refs/pr/{opened.num}" if claim.as_pull_request else "main"
            path = api.hf_hub_download(
                claim.model, claim.path, revision=revision, local_dir=tmp_path / "read" / claim.model / revision
            )
            assert Path(path).read_text() == claim.text


def test_the_broken_model_looks_sound_until_it_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    fill_hub(tmp_path / "hub", tiny_model, tmp_path / "scratch")
    broken = tmp_path / "scratch" / "models" / BROKEN
    check_weights(broken)
    weights = (broken / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert {name: tensor["shape"] for name, tensor in header.items()} == {"norm.weight": [32]}


def test_the_real_weights_are_not_copied_on_their_way(tiny_model: Path, tmp_path: Path) -> None:
    fill_hub(tmp_path / "hub", tiny_model, tmp_path / "scratch")
    assert (tmp_path / "scratch" / "models" / GOOD / "model.safetensors").is_symlink()
    shutil.rmtree(tmp_path / "scratch")
    assert (tiny_model / "model.safetensors").is_file()
