"""Snapshots from a live Hub, and what becomes of each way in which a Hub refuses."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, close_session, get_session

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from deploy.serving import QuietHandler, answered_by
from specs.errors import HubAway, NoAccess
from specs.messages import ModelRef, TaskRef
from specs.processes import bounded_answers
from specs.processes.hub_client_hooks import LONGEST_SECONDS
from tests.support.breaking_network import breaking_network
from tests.support.hub_content import add_benchmark, add_model
from tests.support.localhub import RunningHub, running_hub
from tests.support.refusing_hub import hub_that_says, hub_without_its_xet_store
from tests.support.small_repos import COMMIT
from tests.support.tls_server import answered_over_tls
from workers.errors import DiskFull, ModelError, SpecError
from workers.snapshots.fetch import Snapshots

pytestmark = pytest.mark.usefixtures("impatient_client")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(tmp_path / "hub") as running:
        yield running


def _snapshots(url: str, folder: Path, max_dataset_bytes: int = 2**20) -> Snapshots:
    return Snapshots(folder / "cache", HfApi(endpoint=url, token=False), max_dataset_bytes)


def _head(hub: RunningHub, repo: RepoName) -> str:
    api = HfApi(endpoint=hub.url, token=False)
    ask = api.model_info if repo.type is RepoType.MODEL else api.dataset_info
    return str(ask(repo.id).sha)


def _commit_link(folder: Path, repo: RepoName, name: str) -> None:
    """Commit a symbolic link to a file of the machine, which the Hub's API does not offer and a push does."""
    (bare,) = [each for each in folder.rglob("HEAD") if each.parent.name.startswith(repo.id.partition("/")[2])]

    def git(*arguments: str, stdin: str = "") -> str:
        environment = {**os.environ, "GIT_DIR": str(bare.parent), "GIT_INDEX_FILE": str(folder / f"index-{name}")}
        who = {f"GIT_{role}_{what}": "eve@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        ended = subprocess.run(
            ["git", *arguments], env={**environment, **who}, input=stdin, capture_output=True, text=True, check=True
        )
        return ended.stdout.strip()

    git("read-tree", "refs/heads/main")
    target = git("hash-object", "-w", "--stdin", stdin="/etc/passwd")
    git("update-index", "--add", "--cacheinfo", f"120000,{target},{name}")
    commit = git("commit-tree", git("write-tree"), "-p", "refs/heads/main", "-m", "Link")
    git("update-ref", "refs/heads/main", commit)


def _task(dataset_id: str, revision: str) -> TaskRef:
    return TaskRef(dataset_id=dataset_id, revision=revision, task_id="capitals", spec_sha256="0" * 64)


def test_a_model_comes_without_its_code_and_only_once(hub: RunningHub, tmp_path: Path) -> None:
    repo = add_model(hub.local, "org/model")
    extra = {"modeling.py": b"import os", "pytorch_model.bin": b"pickle", "original/x.safetensors": b"x"}
    hub.local.commit(
        repo, {**extra, "tokenizer.json": b"{}", "hf_quant_config.json": b"{}"}, CommitText("Add files", "org")
    )
    ref = ModelRef(model_id="org/model", revision=_head(hub, repo))
    snapshots = _snapshots(hub.url, tmp_path)
    folder = snapshots.model(ref)
    assert ref.revision in folder.parts
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "hf_quant_config.json"}
    assert {each.name for each in folder.rglob("*")} == wanted
    asked = len(hub.requests)
    assert snapshots.model(ref) == folder
    assert len(hub.requests) == asked, "what is there is not asked for again"


def test_a_symbolic_link_in_a_repo_is_a_small_file_of_text(hub: RunningHub, tmp_path: Path) -> None:
    repo = add_model(hub.local, "org/model")
    data = add_benchmark(hub.local, "bench/capitals")
    for each, name in ((repo, "tokenizer.json"), (data, "train.jsonl")):
        # As `ln -s /etc/passwd NAME; git commit` makes it: mode 120000, and the path as content.
        _commit_link(tmp_path / "hub", each, name)
    snapshots = _snapshots(hub.url, tmp_path)
    model = snapshots.model(ModelRef(model_id="org/model", revision=_head(hub, repo)))
    dataset = snapshots.dataset(_task("bench/capitals", _head(hub, data)))
    for file in (model / "tokenizer.json", dataset / "train.jsonl"):
        # The client's cache has links of its own, all of them into the cache.
        assert file.resolve().is_relative_to(tmp_path / "cache")
        assert file.read_text() == "/etc/passwd"


def test_each_commit_of_a_dataset_has_a_folder_of_its_own(hub: RunningHub, tmp_path: Path) -> None:
    repo = add_benchmark(hub.local, "bench/capitals")
    first = _head(hub, repo)
    hub.local.commit(repo, {"test.jsonl": b'{"question": "new", "answer": "new"}\n'}, CommitText("Change", "bench"))
    second = _head(hub, repo)
    snapshots = _snapshots(hub.url, tmp_path)
    folders = [snapshots.dataset(_task("bench/capitals", revision)) for revision in (first, second)]
    assert (folders[0] / "test.jsonl").read_bytes() != (folders[1] / "test.jsonl").read_bytes()
    assert all(revision in folder.parts for revision, folder in zip((first, second), folders, strict=True))


def test_a_dataset_is_fetched_whole_where_the_hub_lists_only_a_part_of_it(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = add_benchmark(hub.local, "bench/capitals")
    files = {f"data/{n}.jsonl": b"{}" for n in range(5)}
    hub.local.commit(repo, dict(files), CommitText("Add questions", "bench"))
    # As huggingface.co does with many thousands.
    monkeypatch.setattr("deploy.localhub.info.MAX_SIBLINGS", 2)
    folder = _snapshots(hub.url, tmp_path).dataset(_task("bench/capitals", _head(hub, repo)))
    assert {each.name for each in (folder / "data").iterdir()} == {f"{n}.jsonl" for n in range(5)}


@pytest.mark.parametrize("name", ["../../../x", "/etc/passwd", "data/../../x", ""])
def test_a_file_that_leads_out_of_its_repo_is_none(tmp_path: Path, name: str) -> None:
    with hub_that_says(404, {"test.jsonl": 3, name: 3}) as url, pytest.raises(HubAway, match="a file that is none"):
        _snapshots(url, tmp_path).dataset(_task("org/model", COMMIT))


def test_a_hub_that_takes_a_request_and_says_nothing_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    class Silent(QuietHandler):
        def do_GET(self) -> None:
            over.wait(5)
            self.answer(200, b"[]")

    monkeypatch.setattr("workers.snapshots.fetch.HUB_SECONDS", 0.05)
    with answered_by(Silent) as url:
        try:
            with pytest.raises(HubAway):
                _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
        finally:
            over.set()


def test_a_hub_that_leads_from_tls_to_what_is_not_is_away(tmp_path: Path) -> None:
    led: list[str] = []

    class Elsewhere(QuietHandler):
        def do_GET(self) -> None:
            led.append(self.path)
            self.answer(200, b"[]")

        do_HEAD = do_GET

    with answered_by(Elsewhere) as plain:

        class Leads(QuietHandler):
            def do_GET(self) -> None:
                self.answer(302, headers={"location": f"{plain}{self.path}"})

            do_HEAD = do_GET

        with answered_over_tls(Leads, tmp_path) as url, pytest.raises(HubAway, match="without TLS"):
            _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert led == []


def test_an_answer_of_the_api_that_has_no_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelRef(model_id="org/model", revision=COMMIT)
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_BYTES", 10)
    with hub_that_says(404, {"model.safetensors": 3}) as url, pytest.raises(HubAway, match="more than 10 bytes"):
        _snapshots(url, tmp_path).model(model)
    monkeypatch.undo()
    monkeypatch.setattr(bounded_answers, "MAX_REQUESTS", 5)

    class Endless(QuietHandler):
        def do_GET(self) -> None:
            again = f"http://{self.headers['host']}{self.path}"
            self.answer(200, b"[]", headers={"link": f'<{again}>; rel="next"'})

    with answered_by(Endless) as url, pytest.raises(HubAway, match="does not end"):
        _snapshots(url, tmp_path).model(model)


def test_files_may_be_larger_than_an_answer_of_the_api(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = add_model(hub.local, "org/model", b"x" * 100_000)
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_BYTES", 50_000)
    folder = _snapshots(hub.url, tmp_path).model(ModelRef(model_id="org/model", revision=_head(hub, repo)))
    assert (folder / "model.safetensors").stat().st_size >= 100_000


def test_a_dataset_that_is_too_large_is_refused_before_it_is_downloaded(hub: RunningHub, tmp_path: Path) -> None:
    repo = add_benchmark(hub.local, "bench/capitals")
    with pytest.raises(SpecError, match="this worker downloads up to"):
        _snapshots(hub.url, tmp_path, max_dataset_bytes=10).dataset(_task("bench/capitals", _head(hub, repo)))
    assert not [each for each in hub.requests if "/resolve/" in each]


def test_what_does_not_exist_is_told_from_what_is_away(hub: RunningHub, tmp_path: Path) -> None:
    add_benchmark(hub.local, "bench/capitals")
    add_model(hub.local, "org/model")
    snapshots = _snapshots(hub.url, tmp_path)
    with pytest.raises(ModelError, match="no such model"):
        snapshots.model(ModelRef(model_id="org/nothing", revision=COMMIT))
    with pytest.raises(ModelError, match="no such commit"):
        snapshots.model(ModelRef(model_id="org/model", revision=COMMIT))
    with pytest.raises(SpecError, match="has no commit"):
        snapshots.dataset(_task("bench/capitals", COMMIT))


def test_a_full_disk_is_the_workers_failure(hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = add_benchmark(hub.local, "bench/capitals")
    usage = type("usage", (), {"free": 10, "total": 100})
    monkeypatch.setattr("workers.snapshots.cache_space.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match="may need"):
        _snapshots(hub.url, tmp_path).dataset(_task("bench/capitals", _head(hub, repo)))


def test_a_token_that_ran_out_is_no_model_that_does_not_exist(tmp_path: Path) -> None:
    ref = ModelRef(model_id="org/model", revision=COMMIT)
    with hub_that_says(401, X_Error_Code="RepoNotFound") as url:
        with pytest.raises(NoAccess, match="does not know this worker's token"):
            Snapshots(tmp_path / "cache", HfApi(endpoint=url, token="hf_old"), 2**20).model(ref)
        with pytest.raises(ModelError, match="no such model"):
            _snapshots(url, tmp_path).model(ref)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>We will be back soon.</html>"),
        (200, b"null"),
        (200, b'{"error": "maintenance"}'),
        (200, b'[{"type": "file", "path": "model.safetensors", "oid": "x"}]'),
        (200, b"[" * 100_000),
        # To itself, without end.
        (302, b""),
    ],
    ids=["page", "null", "error", "no-size", "nested", "redirects"],
)
def test_what_is_no_list_of_files_is_a_hub_that_is_away(tmp_path: Path, status: int, body: bytes) -> None:
    class Other(QuietHandler):
        def do_GET(self) -> None:
            self.answer(status, body, headers={"location": self.path} if status == 302 else {})

    with answered_by(Other) as url:
        snapshots = _snapshots(url, tmp_path)
        with pytest.raises(HubAway, match="does not answer for org/model"):
            snapshots.model(ModelRef(model_id="org/model", revision=COMMIT))
        with pytest.raises(HubAway, match="does not answer for org/model"):
            snapshots.dataset(_task("org/model", COMMIT))


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_hub_that_stumbles_is_away(tmp_path: Path, status: int) -> None:
    with hub_that_says(status) as url, pytest.raises(HubAway, match=str(status)):
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))


def test_no_answer_is_cut_short_where_another_request_has_the_client_closed(tmp_path: Path) -> None:
    begun, closed = threading.Event(), threading.Event()

    class Slow(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"ha")
            begun.set()
            closed.wait(60)
            self.wfile.write(b"lf")

    with answered_by(Slow) as url, ThreadPoolExecutor(1) as other:
        _snapshots(url, tmp_path)
        answer = other.submit(lambda: get_session().get(f"{url}/some.bin"))
        assert begun.wait(60)
        # As huggingface_hub does where it could not connect.
        close_session()
        closed.set()
        assert answer.result(60).content == b"half"


def test_a_hub_that_asks_for_patience_says_for_how_long(tmp_path: Path) -> None:
    with hub_that_says(429, Retry_After="77") as url, pytest.raises(HubAway) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.retry_after_seconds == 77


def test_a_hub_that_asks_for_patience_over_a_file_says_for_how_long_too(tmp_path: Path) -> None:
    with hub_that_says(429, files={"model.safetensors": 8}, Retry_After="1") as url, pytest.raises(HubAway) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.retry_after_seconds == 1


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "99999999"}, {"RateLimit": '"resolvers";r=0;t=99999999'}],
    ids=["Retry-After", "RateLimit"],
)
def test_no_run_sleeps_for_as_long_as_a_hub_says(tmp_path: Path, headers: dict[str, str]) -> None:
    with hub_that_says(429, files={"model.safetensors": 8}, **headers) as url, pytest.raises(HubAway) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.retry_after_seconds == LONGEST_SECONDS


def test_a_file_that_is_closed_is_no_hub_that_is_away(tmp_path: Path) -> None:
    with hub_that_says(403, files={"model.safetensors": 8}) as url, pytest.raises(NoAccess) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.repo_id == "org/model"


@pytest.mark.parametrize(("asked", "given"), [("9" * 400, 86_400.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_a_hub_is_not_given_more_patience_than_a_day(tmp_path: Path, asked: str, given: float | None) -> None:
    with hub_that_says(503, Retry_After=asked) as url, pytest.raises(HubAway) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.retry_after_seconds == given


def test_a_hub_that_does_not_answer_is_away(tmp_path: Path) -> None:
    with pytest.raises(HubAway, match="does not answer"):
        _snapshots("http://127.0.0.1:9", tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))


@pytest.mark.parametrize("error", ["GatedRepo", ""])
def test_a_repo_that_is_closed_names_whose_move_it_is(tmp_path: Path, error: str) -> None:
    with hub_that_says(403, X_Error_Code=error) as url, pytest.raises(NoAccess) as caught:
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
    assert caught.value.repo_id == "org/model"


def test_files_that_are_not_as_the_commit_has_them_are_fetched_anew(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mirror, a proxy or a disk that gives other bytes of the same number.
    repo = add_model(hub.local, "org/model")
    ref = ModelRef(model_id="org/model", revision=_head(hub, repo))
    download = HfApi.snapshot_download

    def spoilt(api: HfApi, *arguments: Any, **options: Any) -> str:
        snapshot = str(download(api, *arguments, **options))
        for name in names:
            file = Path(snapshot, name)
            content = file.read_bytes()
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return snapshot

    monkeypatch.setattr(HfApi, "snapshot_download", spoilt)
    snapshots = _snapshots(hub.url, tmp_path)
    for names in (["config.json"], ["model.safetensors"]):
        with pytest.raises(HubAway, match=f"{names[0]} did not arrive whole, or not as the commit has it"):
            snapshots.model(ref)
    names = []
    assert (snapshots.model(ref) / "config.json").is_file()


def test_what_a_disk_lost_of_a_snapshot_is_fetched_again(hub: RunningHub, tmp_path: Path) -> None:
    repo = add_benchmark(hub.local, "bench/capitals")
    task = _task("bench/capitals", _head(hub, repo))
    snapshots = _snapshots(hub.url, tmp_path)
    spec = snapshots.dataset(task) / "eval.yaml"
    content = spec.read_bytes()
    spec.resolve().unlink()
    assert (snapshots.dataset(task) / "eval.yaml").read_bytes() == content


def test_a_hub_that_breaks_off_is_away_and_half_a_snapshot_is_none(hub: RunningHub, tmp_path: Path) -> None:
    size, part = 2**20, 2**18
    model, dataset = add_model(hub.local, "org/model"), add_benchmark(hub.local, "org/bench")
    hub.local.commit(model, {"model.safetensors": os.urandom(size)}, CommitText("Add weights", "org"))
    hub.local.commit(dataset, {"more.parquet": os.urandom(size)}, CommitText("Add rows", "org"))
    weights = ModelRef(model_id="org/model", revision=_head(hub, model))
    rows = TaskRef(dataset_id="org/bench", revision=_head(hub, dataset), task_id=None, spec_sha256="0" * 64)
    with breaking_network(hub.url) as network:
        snapshots = _snapshots(network.url, tmp_path, max_dataset_bytes=2 * size)
        network.breaks_after_bytes = part
        with pytest.raises(HubAway, match="does not answer for org/model"):
            snapshots.model(weights)
        with pytest.raises(HubAway, match="does not answer for org/bench"):
            snapshots.dataset(rows)
        assert network.broken > 2
        assert not list((tmp_path / "cache" / "complete").glob("*")), "half a snapshot is none"
        network.breaks_after_bytes = None
        assert (snapshots.model(weights) / "model.safetensors").stat().st_size == size
        assert (snapshots.dataset(rows) / "more.parquet").stat().st_size == size


def test_a_hub_whose_store_of_weights_is_out_of_reach_is_away(tmp_path: Path) -> None:
    with hub_without_its_xet_store(2**20) as url, pytest.raises(HubAway, match="CAS Client Error"):
        _snapshots(url, tmp_path).model(ModelRef(model_id="org/model", revision=COMMIT))
