from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml
from huggingface_hub import HfApi
from typer.testing import CliRunner

from deploy.localhub.cli import app
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import dataset, model
from tests.support.localhub import running_hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model's folder as downloads leave it: with links, and things that nobody wants."""
    source = tmp_path / "model"
    (source / ".cache" / "huggingface").mkdir(parents=True)
    (source / ".cache" / "huggingface" / "junk").write_text("junk")
    (source / "config.json").write_text("{}")
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    (source / "model.safetensors").symlink_to(blob)
    return source


def run(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def test_a_model_is_added_and_adding_it_again_changes_nothing(folder: Path, weights: Path) -> None:
    first = run("add-model", folder, "acme/tiny", weights)
    assert run("add-model", folder, "acme/tiny", weights) == first
    hub = LocalHub(folder)
    assert hub.read_file(model("acme/tiny"), "model.safetensors") == b"weights"
    paths = [entry.path for entry in hub.storage.snapshot(model("acme/tiny")).files]
    assert paths == [".gitattributes", "config.json", "model.safetensors"]


def test_a_benchmark_is_added_as_an_official_one(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "bench"
    source.mkdir()
    (source / "eval.yaml").write_text("tasks: []")
    run("add-benchmark", folder, "acme/bench", source, "--gated")
    run("add-benchmark", folder, "acme/plain", source, "--no-official")
    registry = LocalHub(folder).storage.registry
    bench, plain = registry.find(dataset("acme/bench")), registry.find(dataset("acme/plain"))
    assert (bench.is_benchmark, bench.gated) == (True, "manual")
    assert (plain.is_benchmark, plain.gated) == (False, None)


def test_a_benchmark_whose_files_are_updated_stays_gated_and_as_official_as_it_was(
    folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "bench"
    source.mkdir()
    (source / "eval.yaml").write_text("tasks: []")
    run("add-benchmark", folder, "acme/bench", source, "--gated", "--no-official")
    (source / "README.md").write_text("# More")

    def updated(*options: str) -> tuple[bool, str | None]:
        run("add-benchmark", folder, "acme/bench", source, *options)
        found = LocalHub(folder).storage.registry.find(dataset("acme/bench"))
        return found.is_benchmark, found.gated

    assert updated() == (False, "manual")
    assert LocalHub(folder).read_file(dataset("acme/bench"), "README.md") == b"# More"
    assert updated("--official") == (True, "manual")
    assert updated("--no-gated") == (True, None)


def test_a_benchmark_without_a_spec_is_added_with_a_warning(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "bench"
    source.mkdir()
    (source / "README.md").write_text("# Not yet")
    assert "has no eval.yaml" in run("add-benchmark", folder, "acme/bench", source)
    (source / "eval.yaml").write_text("tasks: []")
    assert "has no eval.yaml" not in run("add-benchmark", folder, "acme/bench", source)


def test_what_the_hub_refuses_has_the_exit_code_of_errors(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["add-model", str(folder), "acme/tiny", str(tmp_path / "nowhere")])
    assert result.exit_code == 3


def test_results_are_submitted_to_one_file_of_each_benchmark(folder: Path, weights: Path) -> None:
    run("add-model", folder, "acme/tiny", weights)
    submit = ("submit-result", folder, "acme/tiny", "--dataset", "acme/bench")
    run(*submit, "--task", "a", "--value", "20.9", "--notes", "No tools", "--source-url", "https://example.org")
    run(*submit, "--task", "b", "--value", "0.5")
    content = LocalHub(folder).read_file(model("acme/tiny"), ".eval_results/bench.yaml")
    assert yaml.safe_load(content) == [
        {
            "dataset": {"id": "acme/bench", "task_id": "a"},
            "value": 20.9,
            "source": {"url": "https://example.org"},
            "notes": "No tools",
        },
        {"dataset": {"id": "acme/bench", "task_id": "b"}, "value": 0.5},
    ]


def test_a_result_is_submitted_as_a_pull_request_by_somebody(folder: Path, weights: Path) -> None:
    run("add-model", folder, "acme/tiny", weights)
    result = ("--dataset", "acme/bench", "--task", "a", "--value", "90", "--filename", "x.yaml")
    output = run("submit-result", folder, "acme/tiny", *result, "--pr", "--author", "eve")
    assert "pull request 1" in output
    hub = LocalHub(folder)
    assert hub.storage.discussions.find(model("acme/tiny"), 1).author == "eve"
    assert hub.read_file(model("acme/tiny"), ".eval_results/x.yaml", "refs/pr/1")


def test_a_file_is_submitted_as_it_is_even_a_malformed_one(folder: Path, weights: Path, tmp_path: Path) -> None:
    run("add-model", folder, "acme/tiny", weights)
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"- dataset: {\xff")
    run("submit-result", folder, "acme/tiny", "--file", broken)
    assert LocalHub(folder).read_file(model("acme/tiny"), ".eval_results/broken.yaml") == b"- dataset: {\xff"
    more = ("--dataset", "acme/bench", "--task", "a", "--value", "1", "--filename", "broken.yaml")
    assert "cannot be added to" in run("submit-result", folder, "acme/tiny", *more, fails=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add-model", "{folder}", "acme/tiny", "/nowhere"), "is not a folder"),
        (("add-model", "{folder}", "tiny", "{folder}"), "Repository not found: tiny"),
        (("submit-result", "{folder}", "acme/none", "--dataset", "a/b", "--task", "t", "--value", "1"), "not found"),
        (("submit-result", "{folder}", "acme/none", "--file", "/nowhere.yaml"), "cannot be read"),
        (("submit-result", "{folder}", "acme/none"), "give --dataset"),
        (("grant", "{folder}", "acme/none", "bob"), "Repository not found"),
        (("add-token", "{folder}", "not a name"), "Not a user name"),
        (("add-token", "{folder}", "bob", "--role", "king"), "'king' is not one of"),
        (("trust-keys", "{folder}", "/etc/hostname"), "is not JSON"),
        (("add-webhook", "{folder}", "nonsense"), "http(s)://HOST/…, and not 'nonsense'"),
        (("add-webhook", "{folder}", "farm.example/hub/webhook"), "and not 'farm.example/hub/webhook'"),
        (("add-webhook", "{folder}", "http:///hub/webhook"), "and not 'http:///hub/webhook'"),
        (("add-webhook", "{folder}", "ftp://farm.example/"), "and not 'ftp://farm.example/'"),
        (("add-webhook", "{folder}", "http://[farm/"), "and not 'http://[farm/'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    output = run(*(argument.replace("{folder}", str(folder)) for argument in arguments), fails=True)
    assert message in " ".join(output.split())
    assert "Traceback" not in output


def test_a_token_is_made_and_works(folder: Path) -> None:
    token = run("add-token", folder, "bob", "--org", "acme").strip()
    with running_hub(folder) as hub:
        assert HfApi(endpoint=hub.url, token=token).whoami()["name"] == "bob"


def test_what_the_command_line_does_is_seen_by_a_running_server(folder: Path, weights: Path) -> None:
    with running_hub(folder) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        run("add-model", folder, "acme/tiny", weights)
        before = api.model_info("acme/tiny").sha
        run("submit-result", folder, "acme/tiny", "--dataset", "acme/bench", "--task", "a", "--value", "1")
        assert api.model_info("acme/tiny").sha != before


def test_a_name_is_found_without_regard_to_case(folder: Path, weights: Path) -> None:
    run("add-model", folder, "acme/tiny", weights)
    (weights / "more.txt").write_text("more")
    run("add-model", folder, "Acme/Tiny", weights)
    assert LocalHub(folder).read_file(model("ACME/tiny"), "more.txt") == b"more"


def test_a_webhook_is_added_with_a_secret(folder: Path) -> None:
    secret = run("add-webhook", folder, "http://127.0.0.1:9/").strip()
    (webhook,) = LocalHub(folder).webhooks.configured()
    assert webhook.secret == secret
    assert len(secret) > 20


def test_serve_prints_one_line_with_the_url_and_stops_when_asked(folder: Path) -> None:
    program = "from deploy.localhub.cli import app; app()"
    command = [sys.executable, "-c", program, "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert match, line
        assert httpx2.get(f"{match[0]}/api/models", timeout=60).json() == []
        os.kill(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert rest == ""
    assert "Traceback" not in errors


def test_a_port_that_is_taken_is_said_in_one_line(folder: Path) -> None:
    with running_hub(folder) as hub:
        port = hub.url.rpartition(":")[2]
        assert "cannot listen" in run("serve", folder, "--port", port, fails=True)
