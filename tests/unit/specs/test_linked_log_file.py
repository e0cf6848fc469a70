"""Linked logs are read strictly, within bounds, and every refusal tells their author what to do."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from specs.judging.stopping import target_in_words, targets_sha256
from specs.logs.linked_log import LinkedLog, LinkedLogReading
from specs.logs.linked_log_file import read_linked_log
from specs.logs.run_log import LogLimits
from specs.policy.verification import Scale
from tests.support.inspect_logs import inspect_log, rewritten, with_header, with_samples

URL = "https://hub.test/o/m/blob/main/log.eval"
TARGETS = [f"t{number}" for number in range(1, 13)]
# Nine of twelve in the first epoch, all in the second: 0.875 over both.
SAID = [[target if number % 4 else "no", target] for number, target in enumerate(TARGETS)]
SCORES = tuple(1.0 if number % 4 else 0.5 for number in range(12))
MEAN_PERCENT = 87.5


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of twelve samples in two epochs."""
    return inspect_log(tmp_path_factory.mktemp("logs"), TARGETS, SAID)


def read(path: Path, value: float = MEAN_PERCENT, scale: Scale = "percent") -> LinkedLogReading:
    return read_linked_log(path, URL, value, scale, lambda: False)


def used(path: Path, value: float = MEAN_PERCENT, scale: Scale = "percent") -> LinkedLog:
    reading = read(path, value, scale)
    assert reading.log is not None, reading.reason
    assert reading.reason == ""
    return reading.log


def refused(path: Path, value: float = MEAN_PERCENT, scale: Scale = "percent") -> str:
    reading = read(path, value, scale)
    assert reading.log is None
    assert reading.url == URL
    return reading.reason


def test_a_log_of_the_claimed_run_is_read_whole(log: Path) -> None:
    found = used(log)
    assert found.scores == SCORES
    assert found.targets_sha256 == targets_sha256(TARGETS)
    assert found.sha256 == hashlib.sha256(log.read_bytes()).hexdigest()
    assert found.greedy


def test_a_log_that_was_sampled_or_does_not_say_is_not_called_greedy(log: Path, tmp_path: Path) -> None:
    for stated in (0.6, None):

        def change(header: dict[str, Any], stated: float | None = stated) -> None:
            header["plan"]["config"]["temperature"] = stated
            header["eval"]["model_generate_config"]["temperature"] = stated

        assert not used(with_header(log, tmp_path / f"{stated}.eval", change)).greedy


def test_targets_of_multiple_choice_are_told_by_what_they_choose_in_whatever_order(log: Path, tmp_path: Path) -> None:
    def shuffled(name: str, by: int, first: str = "right") -> str:
        def change(sample: dict[str, Any]) -> None:
            choices = [f"{first} {sample['id']}", "wrong", "also wrong"]
            sample["choices"] = [*choices[-by:], *choices[:-by]] if by else choices
            sample["target"] = "ABC"[by]

        return used(with_samples(log, tmp_path / f"{name}.eval", change)).targets_sha256

    assert shuffled("as it is", 0) == shuffled("by one", 1) == shuffled("by two", 2)
    assert shuffled("another", 0, "other") != shuffled("again", 0)


@pytest.mark.parametrize(
    ("target", "choices", "words"),
    [
        ("B", ["x", "y"], "y"),
        (["C", "A"], ["x", "y", "z"], ["x", "z"]),
        ("C", ["x", "y"], "C"),
        ("y", ["x", "y"], "y"),
        ("", ["x", "y"], ""),
        ("B", None, "B"),
        (["B", "no letter"], ["x", "y"], ["B", "no letter"]),
    ],
)
def test_a_target_that_stands_for_no_choice_is_left_as_it_is(
    target: str | list[str], choices: list[str] | None, words: str | list[str]
) -> None:
    assert target_in_words(target, choices) == words


def test_ids_may_be_numbers_as_text(log: Path, tmp_path: Path) -> None:
    def change(sample: dict[str, Any]) -> None:
        sample["id"] = str(sample["id"])

    assert used(with_samples(log, tmp_path / "text.eval", change)) == used(log).model_copy(
        update={"sha256": hashlib.sha256((tmp_path / "text.eval").read_bytes()).hexdigest()}
    )


def test_names_in_the_header_decide_nothing(log: Path, tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["eval"]["task"] = "another/task"
        header["eval"]["dataset"]["name"] = "another"
        header["eval"]["model"] = "another/model"

    assert used(with_header(log, tmp_path / "named.eval", change)).scores == SCORES


def status(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header.update(status=value)


def dataset(samples: int | None) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["eval"]["dataset"].update(samples=samples)


def config(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["eval"]["config"].update(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (status("error"), "its run did not end with success, but as error: link the log of a whole run"),
        (status("started"), "did not end with success, but as started"),
        (lambda header: header.update(invalidated=True), "it was declared invalid"),
        (lambda header: header.update(results=None), "no results: score it"),
        (lambda header: header["results"].update(scores=[]), "no results: score it"),
        (dataset(None), "does not say how many samples"),
        (dataset(0), "does not say how many samples"),
        (dataset(-3), "does not say how many samples"),
        (dataset(100), "it holds 24 answers, and its dataset has 100 samples"),
        (dataset(10**9), "200000 answers at most"),
        (config(epochs=10**30), "200000 answers at most"),
        (config(epochs=3), "to be answered in 3 epochs: link the log of a run without a limit"),
        (config(epochs_reducer=["no such"]), "its 2 epochs cannot be made one by 'no such'"),
        (config(epochs_reducer=["pass_at_5"]), "its 2 epochs cannot be made one by 'pass_at_5'"),
        (lambda header: header["results"]["scores"][0].update(name="other"), "12 of its 12 samples have no score"),
        (lambda header: header.update(results=7), "header is not Inspect's"),
        (lambda header: header.update(eval="x"), "header is not Inspect's"),
    ],
)
def test_a_header_of_no_whole_run_is_refused(
    log: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    assert reason in refused(with_header(log, tmp_path / "changed.eval", change))


def third(**values: object) -> Callable[[dict[str, Any]], None]:
    def change(sample: dict[str, Any]) -> None:
        if (sample["id"], sample["epoch"]) == (3, 1):
            sample.update(values)

    return change


ENDED = {"message": "m", "traceback": "t", "traceback_ansi": "t"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (third(id=13), "a sample 13 in epoch 1; samples are numbered from 1 to 12"),
        (third(id=0), "a sample 0 in epoch 1"),
        (third(id="q3"), "a sample 'q3' in epoch 1"),
        (third(id="03"), "a sample '03' in epoch 1"),
        (third(id="٣"), "a sample '٣' in epoch 1"),
        (third(id="9" * 500), "a sample '999"),
        (third(epoch=3), "in epoch 3; samples are numbered"),
        (third(epoch=0), "in epoch 0; samples are numbered"),
        (third(id=4), "sample 4 twice for one epoch"),
        (third(id="4"), "sample 4 twice for epoch 1"),
        (third(target="other"), "sample 3 has not the same target in every epoch"),
        (third(target={"no": "target"}), "is not a sample of Inspect's"),
        (third(scores={"exact": {"value": float("nan")}}), "1 of its 12 samples have no score by 'exact', sample 3"),
        (third(scores={"exact": {"value": 7}}), "sample 3 first: they failed"),
        (third(scores={"exact": {"value": 10**400}}), "sample 3 first: they failed"),
        (third(scores={}), "sample 3 first: they failed"),
        (third(scores=None), "sample 3 first: they failed"),
        (third(error=ENDED, scores={}), "sample 3 first: they failed"),
    ],
)
def test_samples_that_are_not_those_of_a_whole_run_are_refused(
    log: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    assert reason in refused(with_samples(log, tmp_path / "changed.eval", change))


def test_an_answer_that_was_scored_before_an_error_counts_as_inspect_counts_it(log: Path, tmp_path: Path) -> None:
    changed = with_samples(log, tmp_path / "changed.eval", third(error=ENDED))
    assert used(changed).scores == used(log).scores


def test_a_sample_that_was_left_out_is_missed(log: Path, tmp_path: Path) -> None:
    partial = rewritten(
        log, tmp_path / "partial.eval", lambda name, content: None if name == "samples/3_epoch_1.json" else content
    )
    assert "it holds 23 answers" in refused(partial)


def test_a_log_without_its_end_is_refused(log: Path, tmp_path: Path) -> None:
    without = rewritten(log, tmp_path / "open.eval", lambda name, content: None if name == "header.json" else content)
    assert refused(without) == "the log was not finished: it has no header"
    (tmp_path / "text.eval").write_text("not a log at all")
    assert "not a ZIP of Inspect's" in refused(tmp_path / "text.eval")


@pytest.mark.parametrize(
    ("value", "scale", "fits"),
    [
        (87.5, "percent", True),
        (87.54, "percent", False),
        (87.46, "percent", False),
        (87.4, "percent", False),
        (88.0, "percent", True),
        (87.0, "percent", True),
        (86.0, "percent", False),
        (0.875, "fraction", True),
        (0.88, "fraction", True),
        (0.9, "fraction", False),
        (1.0, "fraction", False),
        (0.8754, "fraction", False),
        (0.875, "percent", False),
        (87.5, "fraction", False),
    ],
)
def test_the_logs_mean_must_be_the_claim_as_exactly_as_that_was_written(
    log: Path, value: float, scale: Scale, fits: bool
) -> None:
    if fits:
        used(log, value, scale)
    else:
        said = refused(log, value, scale)
        assert f"the claim says {value} ({scale})" in said or f"the claimed {value} is no score" in said


def test_reading_ends_when_nobody_waits_any_longer(log: Path) -> None:
    answers = iter([False, False, True])
    reading = read_linked_log(log, URL, MEAN_PERCENT, "percent", lambda: next(answers))
    assert reading.reason == "it took longer to read than planning waits for a linked log"


def test_a_file_beyond_the_bound_is_not_opened_and_the_bound_is_said(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = log.stat().st_size
    monkeypatch.setattr("specs.logs.linked_log_file.MAX_FILE_BYTES", size - 1)
    assert refused(log).startswith(f"it has {size} bytes; this farm reads")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (LogLimits(directory=500, file=2**20, unpacked=2**20), "more files than this farm reads"),
        (LogLimits(directory=2**20, file=500, unpacked=2**20), "larger than this farm reads"),
        (LogLimits(directory=2**20, file=2**20, unpacked=10_000), "larger than this farm reads"),
    ],
)
def test_what_is_unpacked_is_bounded(
    log: Path, limits: LogLimits, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specs.logs.linked_log_file.LIMITS", limits)
    assert reason in refused(log)


def test_targets_that_would_fill_the_memory_are_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specs.logs.linked_log_file.MAX_TARGET_CHARS", sum(map(len, TARGETS)) - 1)
    assert "its targets are longer" in refused(log)


def test_a_bomb_in_a_sample_stops_at_the_bound_for_one_file(log: Path, tmp_path: Path) -> None:
    bomb = with_samples(log, tmp_path / "bomb.eval", third(input=" " * 2**23))
    assert bomb.stat().st_size < 2**20
    assert "larger than this farm reads" in refused(bomb)


def test_whatever_stands_in_a_log_becomes_a_reason(log: Path, tmp_path: Path) -> None:
    """Every value of the header and of a sample in turn replaced by things that do not belong there."""
    with zipfile.ZipFile(log) as archive:
        files = {name: json.loads(archive.read(name)) for name in ("header.json", "samples/3_epoch_1.json")}
    strange: tuple[object, ...] = (None, 7, -1.5, "x", [], {}, [[]], {"a": {"b": []}}, True, 1e308)
    for name, content in files.items():
        for key in content:
            for value in strange:
                other = {**content, key: value}

                def change(each: str, old: Any, name: str = name, other: Any = other) -> Any:
                    return other if each == name else old

                reading = read(rewritten(log, tmp_path / "strange.eval", change))
                assert (reading.log is None) == bool(reading.reason)
