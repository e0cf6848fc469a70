"""A report is believed only as far as its log goes. Reports and logs are a real worker's; only the engine is not."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from scheduler.judging.evidence import MissingEvidenceError, check_evidence
from specs.errors import EvidenceAway, EvidenceError
from specs.judging.stopping import JudgedClaim, Stopping
from specs.logs.evidence import path_in_store
from specs.logs.run_scores import mean_of, standard_error_of
from specs.measurement import Measurement
from specs.messages import AttemptOutcome, Report
from tests.support.disks import small_disk
from tests.support.hub_bucket import hub_bucket
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in

ROWS = [{"question": f"{i}? Say: {i}", "answer": str(i) if i % 3 else "no"} for i in range(8)]
ROWS += [{"question": "[long] Say: x", "answer": "x"}, {"question": "[too long]", "answer": "x"}]
SPEC = {**SAY_SPEC, "tasks": [{**SAY_SPEC["tasks"][0], "scorers": [{"name": "exact"}, {"name": "includes"}]}]}


@dataclass(frozen=True)
class Store:
    """An evidence store with the log of a report."""

    folder: Path
    report: Report
    stopping: Stopping | None = None

    @property
    def log(self) -> Path:
        assert self.report.evidence is not None
        return self.folder / path_in_store(self.report.evidence.sha256)

    def check(self, report: Report | None = None) -> Measurement:
        return check_evidence(f"file://{self.folder}", report or self.report, self.stopping)

    def refused(self, reason: str, report: Report | None = None) -> None:
        with pytest.raises(EvidenceError, match=reason):
            self.check(report)

    def said(self, **changes: Any) -> Report:
        """The report with other figures."""
        assert self.report.measurement is not None
        data = self.report.encode()
        data["measurement"] = {**self.report.measurement.model_dump(mode="json"), **changes}
        return Report.decode(data)

    def with_log(self, content: bytes) -> Store:
        """The report with another log, rightly named."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / path_in_store(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        evidence = {"sha256": digest, "size_bytes": len(content)}
        return Store(self.folder, Report.decode({**self.report.encode(), "evidence": evidence}))

    def with_changed(self, member: str, change: Callable[[Any], None]) -> Store:
        """The report with a log in which one file of the ZIP says something else."""
        other = self.folder / "changed.eval"
        with zipfile.ZipFile(self.log) as old, zipfile.ZipFile(other, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == member:
                    value = json.loads(data)
                    change(value)
                    data = json.dumps(value).encode()
                new.writestr(name, data)
        return self.with_log(other.read_bytes())


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a worker ran two orders, with its evidence and its reports."""
    folder = tmp_path_factory.mktemp("worked")
    snapshot = write_dataset(folder / "data", ROWS, SPEC)
    with bench(folder, write_model(folder / "model"), stand_in()) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
        task = task_ref(snapshot)
        orders = (order(task, "whole"), order(task, "part", epochs=2, sample_limit=6))
        heard = run(workbench, batch_of(*orders))
    for name, report in heard.reports.items():
        assert report.outcome is AttemptOutcome.COMPLETED, report.detail
        (folder / f"{name}.json").write_text(json.dumps(report.encode()))
    return folder


def store_of(worked: Path, name: str, folder: Path) -> Store:
    shutil.copytree(worked / "evidence", folder / "evidence")
    return Store(folder / "evidence", Report.decode(json.loads((worked / f"{name}.json").read_text())))


@pytest.fixture
def store(worked: Path, tmp_path: Path) -> Store:
    return store_of(worked, "whole", tmp_path)


def test_a_log_that_does_not_state_what_the_run_was_to_stop_by_is_refused(store: Store) -> None:
    claim = JudgedClaim(claim_id="c", claimed=0.5, tolerance=None)
    stopping = Stopping(claims=(claim,), alpha=0.001, minimum_samples=20, maximum_failed_fraction=0.02)
    replace(store, stopping=stopping).refused("does not state that it was to stop by what was ordered")


@pytest.mark.parametrize("name", ["whole", "part"])
def test_what_a_worker_reports_is_borne_out_by_its_log(worked: Path, tmp_path: Path, name: str) -> None:
    store = store_of(worked, name, tmp_path)
    measured = store.report.measurement
    assert measured is not None
    assert (len(measured.sample_ids), measured.population) == ((10, 10) if name == "whole" else (6, 10))
    store.check()


def test_a_score_that_the_log_does_not_give_is_refused(store: Store) -> None:
    assert store.report.measurement is not None
    scores = list(store.report.measurement.sample_scores)
    assert None in scores, "the answer that was refused has no score"
    for place, other in ((scores.index(1.0), 0.0), (scores.index(0.0), 1.0), (scores.index(None), 1.0)):
        changed = [*scores[:place], other, *scores[place + 1 :]]
        store.refused(r"sample \d+ scored .* in the log; the report says", store.said(sample_scores=changed))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": 0.9}, r"gives a score of .*; the report says 0\.9"),
        ({"score": None}, "gives a score of"),
        ({"standard_error": 0.0001}, "gives a standard error of"),
        ({"standard_error": None}, "gives a standard error of"),
        ({"truncated": 0}, "number of truncated answers of 1; the report says 0"),
        ({"cut_by_context": 2}, "1 answers cut off by the context; the report says 2"),
        ({"unparsed": 7}, "number of unparsed answers of 0; the report says 7"),
        ({"targets_sha256": "f" * 64}, "digest of targets is '[0-9a-f]+'; the report says 'ffff"),
        ({"population": 11}, "number of samples in the dataset is 10; the report says 11"),
        ({"scorer": "match"}, "first scorer"),
        ({"other_scorers": {"includes": 0.123}}, "mean by includes"),
        ({"other_scorers": {}}, "list of further scorers"),
    ],
)
def test_a_figure_that_the_log_does_not_give_is_refused(store: Store, changes: dict[str, Any], reason: str) -> None:
    store.refused(reason, store.said(**changes))


def test_samples_in_another_order_or_picked_by_hand_are_refused(worked: Path, tmp_path: Path) -> None:
    store = store_of(worked, "part", tmp_path)
    assert store.report.measurement is not None
    ids, scores = store.report.measurement.sample_ids, store.report.measurement.sample_scores
    turned = store.said(sample_ids=ids[::-1], sample_scores=scores[::-1])
    store.refused("not the first in the order that the seed gives", turned)
    fewer = store.said(sample_ids=ids[1:], sample_scores=scores[1:])
    store.refused("not the first in the order that the seed gives", fewer)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("seed", 6, "seed is 5; the report says 6"),
        ("epochs", 2, "number of epochs is 1; the report says 2"),
        ("epoch_reducer", "mode", "reducer of epochs is 'mean'; the report says 'mode'"),
        ("versions", {"vllm": "9.9.9"}, "versions is .*; the report says {'vllm': '9.9.9'}"),
        ("hardware", "8 × H100", "hardware is .*; the report says '8 × H100'"),
        ("engine_arguments", ["--quick"], r"engine arguments is .*; the report says \['--quick'\]"),
        ("batch_invariant", True, "batch invariant is False; the report says True"),
        ("judges", {"self": "x"}, "judges is {}; the report says"),
    ],
)
def test_other_circumstances_than_the_log_has_are_refused(store: Store, name: str, value: Any, reason: str) -> None:
    assert store.report.measurement is not None
    ran = store.report.measurement.circumstances.model_dump(mode="json")
    store.refused(reason, store.said(circumstances={**ran, name: value}))


def _earlier(value: Any) -> None:
    # As a worker's of an earlier version.
    del value["eval"]["metadata"]["targets_sha256"]
    for name in ("batch_invariant", "epoch_reducer"):
        del value["eval"]["metadata"]["circumstances"][name]


def test_what_a_report_leaves_out_is_as_its_log_has_it(store: Store) -> None:
    measured = store.report.measurement
    assert measured is not None
    assert (measured.cut_by_context, measured.thoughts, measured.circumstances.epoch_reducer) == (1, 0, "mean")
    ran = measured.circumstances.model_dump(mode="json")
    # Whoever leaves it out of a report, an honest worker of an earlier version or not.
    silent = {"cut_by_context": None, "thoughts": None, "circumstances": {**ran, "epoch_reducer": None}}
    assert store.check(store.said(**silent)) == measured
    earlier = store.with_changed("header.json", _earlier)
    assert earlier.check(earlier.said(**silent)) == measured
    invented = {**silent, "circumstances": {**ran, "batch_invariant": True}}
    earlier.refused("batch invariant is False; the report says True", earlier.said(**invented))


def test_a_log_of_another_model_or_task_is_refused(store: Store) -> None:
    data = store.report.encode()
    for place, what in (("model", "model_id"), ("model", "revision"), ("task", "dataset_id"), ("task", "spec_sha256")):
        held: Any = data[place]
        other = "f" * len(held[what]) if what in {"revision", "spec_sha256"} else "other/one"
        changed = Report.decode({**data, place: {**held, what: other}})
        store.refused(f"the log's {place} is", changed)


def _status(value: Any) -> None:
    value["status"] = "error"


def _invalid(value: Any) -> None:
    value["invalidated"] = True


def _settings(value: Any) -> None:
    value["eval"]["metadata"]["generation"]["temperature"] = 0.7


def _silent(value: Any) -> None:
    del value["eval"]["metadata"]


def _renamed(value: Any) -> None:
    value["eval"]["model"] = "openai/gpt"


def _reducer(value: Any) -> None:
    value["eval"]["config"]["epochs_reducer"] = ["no_such_reducer"]


def _unscored(value: Any) -> None:
    value["results"]["scores"] = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_status, "a run of status error, not of a success"),
        (_invalid, "a run declared invalid"),
        (_settings, "the log's sampling settings"),
        (_silent, "the log's model is None"),
        (_renamed, "the log's model's name is 'openai/gpt'"),
        (_reducer, "a reducer that Inspect does not have: 'no_such_reducer'"),
        (_unscored, "the log's first scorer is None"),
    ],
)
def test_a_log_that_says_something_else_of_itself_is_refused(
    store: Store, change: Callable[[Any], None], reason: str
) -> None:
    store.with_changed("header.json", change).refused(reason)


def test_an_answer_that_was_changed_in_the_log_is_refused(store: Store) -> None:
    def better(value: Any) -> None:
        value["scores"]["exact"]["value"] = 1.0 if value["scores"]["exact"]["value"] != 1.0 else 0.0

    store.with_changed("samples/1_epoch_1.json", better).refused("sample 1 scored")


def test_an_invented_log_that_agrees_with_its_report_is_believed(store: Store) -> None:
    # What no check of a log can show; docs/security.md says what bounds it.
    measured = store.report.measurement
    assert measured is not None
    place = measured.sample_scores.index(0.0)
    scores = [*measured.sample_scores[:place], 1.0, *measured.sample_scores[place + 1 :]]

    def invent(value: Any) -> None:
        value["scores"]["exact"]["value"] = "C"

    invented = store.with_changed(f"samples/{measured.sample_ids[place]}_epoch_1.json", invent)
    invented.refused("sample .* scored 1.0 in the log; the report says 0.0")
    figures = {"score": mean_of(scores), "standard_error": standard_error_of(scores)}
    invented.check(invented.said(sample_scores=scores, **figures))


def test_a_log_that_was_only_packed_anew_is_believed(store: Store) -> None:
    store.with_changed("header.json", lambda _: None).check()


def test_a_log_that_is_not_there_is_refused(store: Store) -> None:
    store.log.unlink()
    store.refused("is not in the evidence store")


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_log_of_another_content_is_refused(store: Store, content: bytes) -> None:
    store.log.write_bytes(content)
    store.refused("another one than the report names")


def test_a_log_with_one_changed_byte_or_one_too_many_is_refused(store: Store) -> None:
    log = store.log.read_bytes()
    for changed in (bytes([log[0] ^ 1]) + log[1:], log + b"\0", log[:-1]):
        store.log.write_bytes(changed)
        store.refused("another one than the report names")


def test_a_log_that_is_larger_than_the_farm_reads_is_not_fetched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.judging.evidence.MAX_LOG_BYTES", 100)
    store.refused("this farm reads 100 at most")


def test_what_is_no_log_is_refused(store: Store) -> None:
    store.with_log(b"not a log").refused("not a ZIP of Inspect's")


def test_a_log_that_is_stored_after_its_folder_was_looked_into_is_found(store: Store) -> None:
    # To look for a log, the driver of the Hub's buckets lists its folder, and remembers that.
    digest, content = store.log.stem, store.log.read_bytes()
    with hub_bucket() as bucket:
        bucket.put(digest[:2].ljust(64, "0"), b"that of another run")
        with pytest.raises(MissingEvidenceError):
            check_evidence(bucket.url, store.report, store.stopping)
        bucket.put(digest, content)
        check_evidence(bucket.url, store.report, store.stopping)


class Stumbling(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that fails so often before it works."""

    protocol = "stumbling"
    cachable = False
    failures = 0

    def _open(self, *args: Any, **options: Any) -> Any:
        if Stumbling.failures:
            Stumbling.failures -= 1
            raise ConnectionError("the store stumbles")
        return super()._open(*args, **options)


@pytest.mark.parametrize(
    ("failures", "reason"), [(2, None), (3, "cannot be read: ConnectionError: the store stumbles")]
)
def test_a_store_that_stumbles_gets_another_chance_and_then_is_away(
    store: Store, failures: int, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("stumbling", Stumbling, clobber=True)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    Stumbling.failures = failures
    if reason is None:
        check_evidence(f"stumbling://{store.folder}", store.report, None)
    else:
        with pytest.raises(EvidenceAway, match=reason):
            check_evidence(f"stumbling://{store.folder}", store.report, None)


def test_a_store_that_is_not_mounted_or_not_known_says_nothing_of_a_report(store: Store) -> None:
    shutil.rmtree(store.folder)
    with pytest.raises(EvidenceAway, match="there is no evidence store at"):
        store.check()
    with pytest.raises(EvidenceAway, match="cannot be read: ValueError: Protocol not known: nowhere"):
        check_evidence("nowhere://evidence", store.report, None)


def test_a_disk_without_room_for_a_copy_of_the_log_says_nothing_of_a_report(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.judging.evidence._IN_MEMORY_BYTES", 100)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with small_disk(tmp_path / "temporary", 64, 4) as folder:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        with pytest.raises(EvidenceAway, match="No space left on device"):
            store.check()
    monkeypatch.undo()
    store.check()
