"""Logs are read within limits, and what is not a log is said not to be one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.log._recorders.eval import EvalRecorder

from specs.errors import EvidenceError
from specs.logs.run_log import LogLimits, RunLog
from specs.logs.run_scores import mean_of, run_scores, standard_error_of
from specs.logs.scoring import first_value

HEADER = {
    "version": 2,
    "status": "success",
    "eval": {"created": "2026-11-23T21:50:12+00:00", "task": "a/b", "dataset": {}, "model": "vllm/o/m", "config": {}},
}


def answer(sample_id: int | str = 1, epoch: int = 1, value: object = "C", **more: Any) -> dict[str, Any]:
    return {
        "id": sample_id,
        "epoch": epoch,
        "input": "q",
        "target": "a",
        "scores": {"match": {"value": value, "answer": "a"}},
        "events": [{"not": "looked at"}],
        **more,
    }


def write(path: Path, files: list[tuple[str, object]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return path


def answers_of(path: Path) -> list[tuple[int | str, int]]:
    with RunLog(path) as log:
        return [(each.id, each.epoch) for each in log.answers()]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_header_and_answers_are_read_whatever_the_compression(tmp_path: Path, compression: int) -> None:
    files: list[tuple[str, object]] = [
        ("samples/2_epoch_1.json", answer(2)),
        ("samples/a/b_epoch_1.json", answer("a/b")),
        ("_journal/summaries/1.json", "not looked at"),
        ("header.json", HEADER),
    ]
    path = write(tmp_path / "log.eval", files, compression)
    with RunLog(path) as log:
        assert log.header().eval.model == "vllm/o/m"
    assert answers_of(path) == [(2, 1), ("a/b", 1)]


def test_answers_come_with_their_targets(tmp_path: Path) -> None:
    files: list[tuple[str, object]] = [
        ("samples/1_epoch_1.json", answer(1, target="one")),
        ("samples/2_epoch_1.json", answer(2, target=["two", "zwei"])),
        ("samples/3_epoch_1.json", {"id": 3, "epoch": 1}),
        ("header.json", HEADER),
    ]
    with RunLog(write(tmp_path / "log.eval", files)) as log:
        assert log.answer_count() == 3
        assert [each.target for each in log.answers()] == ["one", ["two", "zwei"], ""]


@pytest.mark.parametrize("content", [{**HEADER, "results": 7}, {**HEADER, "results": {"scorer": {}, "scores": []}}])
def test_a_header_over_which_inspect_stumbles_is_said_to_be_none(tmp_path: Path, content: dict[str, Any]) -> None:
    path = write(tmp_path / "log.eval", [("header.json", content)])
    with RunLog(path) as log, pytest.raises(EvidenceError, match="header is not Inspect's"):
        log.header()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("samples/1_epoch_1.json", [])], "is not a JSON object"),
        ([("samples/1_epoch_1.json", "{")], "cannot be read"),
        ([("samples/1_epoch_1.json", "[" * 100_000)], "cannot be read"),
        ([("samples/1_epoch_1.json", "9" * 5000)], "cannot be read"),
        ([("samples/1_epoch_1.json", {"id": 1})], "is not a sample of Inspect's"),
        ([("samples/1_epoch_1.json", answer(scores=7))], "is not a sample of Inspect's"),
        ([("samples/x.json", answer()), ("samples/y.json", answer())], "sample 1 twice for one epoch"),
    ],
)
def test_an_answer_that_is_none_is_named(tmp_path: Path, files: list[tuple[str, object]], reason: str) -> None:
    with pytest.raises(EvidenceError, match=reason):
        answers_of(write(tmp_path / "log.eval", files))


@pytest.mark.parametrize(
    ("files", "reason"),
    [([], "not finished"), ([("header.json", {})], "not Inspect's"), ([("header.json", "nope")], "cannot be read")],
)
def test_a_header_that_is_none_is_said_to_be_none(tmp_path: Path, files: list[tuple[str, object]], reason: str) -> None:
    with RunLog(write(tmp_path / "log.eval", files)) as log, pytest.raises(EvidenceError, match=reason):
        log.header()


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.eval").write_bytes(content)
    with pytest.raises(EvidenceError, match=r"ZIP|files"):
        RunLog(tmp_path / "log.eval")


def test_a_cut_off_log_is_said_to_be_none(tmp_path: Path) -> None:
    path = write(tmp_path / "log.eval", [("header.json", HEADER)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(EvidenceError, match="not a ZIP"):
        RunLog(path)


def test_a_log_that_claims_a_later_version_of_zip_is_said_to_be_none(tmp_path: Path) -> None:
    path = write(tmp_path / "log.eval", [("header.json", HEADER)])
    content = bytearray(path.read_bytes())
    # "Version needed to extract" of a file, in the directory: 8.4.
    content[content.index(b"PK\x01\x02") + 6] = 84
    path.write_bytes(bytes(content))
    with pytest.raises(EvidenceError, match=r"not a ZIP.*8\.4"):
        RunLog(path)


def test_damaged_content_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "log.eval", [("samples/1_epoch_1.json", answer())], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b'"C"', b'"I"'))
    with pytest.raises(EvidenceError, match="CRC"):
        answers_of(path)


def test_of_two_files_of_one_name_the_last_counts(tmp_path: Path) -> None:
    name = "samples/1_epoch_1.json"
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write(tmp_path / "log.eval", [(name, answer(value="I")), (name, answer(value="C"))])
    with RunLog(path) as log:
        (only,) = log.answers()
        assert first_value(only) == "C"
        assert log.answer_count() == 1


def test_a_log_that_inspect_was_stopped_in_the_middle_of_writing_has_each_answer_once(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    begun = EvalLog.model_validate({**HEADER, "status": "started"})

    async def stopped() -> None:
        recorder = EvalRecorder(str(tmp_path))
        await recorder.log_init(begun.eval, str(path))
        await recorder.log_start(begun.eval, begun.plan)
        for number in range(3):
            await recorder.log_sample(begun.eval, EvalSample.model_validate(answer(number, events=[])))
        (writing,) = recorder.data.values()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.flush, begun.eval)
            # Behind the first answer, which it then writes again.
            while writing._zip is None or "samples/0_epoch_1.json" not in writing._zip.namelist():
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await recorder.log_finish(begun.eval, "cancelled", begun.stats, None, None)

    anyio.run(stopped)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) > len(set(archive.namelist())), "Inspect writes no name again any more"
    assert answers_of(path) == [(0, 1), (1, 1), (2, 1)]
    with RunLog(path) as log:
        assert [each["id"] for each in log.summaries()] == [0, 1, 2]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, 93])
def test_a_bomb_is_not_unpacked(tmp_path: Path, compression: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specs.logs.run_log.MAX_FILE_BYTES", 2**20)
    files: list[tuple[str, object]] = [("samples/1_epoch_1.json", answer(1, input=" " * 2**21))]
    path = write(tmp_path / "log.eval", files, compression)
    assert path.stat().st_size < 10_000
    with pytest.raises(EvidenceError, match="larger than this farm reads"):
        answers_of(path)


def test_a_small_file_of_very_many_values_is_not_unpacked_into_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "log.eval", [("samples/1.json", '{"x": [' + "[]," * 3_000_000 + "[]]}")])
    assert path.stat().st_size < 20_000
    with pytest.raises(EvidenceError, match="has more values than this farm reads"):
        answers_of(path)


def test_commas_and_brackets_in_texts_are_no_values(tmp_path: Path) -> None:
    text = '[{"a": 1}, {\\"}],' * 200_000
    assert answers_of(write(tmp_path / "log.eval", [("samples/1.json", answer(1, input=text))])) == [(1, 1)]


def test_a_text_that_never_ends_takes_no_longer_than_one_that_does(tmp_path: Path) -> None:
    # Tried anew from each of its quotes it would take a day.
    text = "," * 2_000_001 + '"' + '\\"' * 3_000_000
    path = write(tmp_path / "log.eval", [("samples/1.json", text)])
    assert path.stat().st_size < 20_000
    with pytest.raises(EvidenceError, match="more values than this farm reads"):
        answers_of(path)


def test_ids_and_scores_that_would_fill_the_memory_are_none(tmp_path: Path) -> None:
    long = write(tmp_path / "id.eval", [("samples/1.json", answer("1" * 10_000))])
    with pytest.raises(EvidenceError, match="an id of more than 1000 characters"):
        answers_of(long)
    number = write(tmp_path / "number.eval", [("samples/1.json", answer(value="0." + "0" * 10_000))])
    with RunLog(number) as log:
        assert [first_value(each) for each in log.answers()] == [None]


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specs.logs.run_log.MAX_UNPACKED_BYTES", 2**20)
    files: list[tuple[str, object]] = [(f"samples/{n}.json", answer(n, input=" " * 2**17)) for n in range(9)]
    with pytest.raises(EvidenceError, match="larger than this farm reads"):
        answers_of(write(tmp_path / "log.eval", files))


def test_a_directory_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specs.logs.run_log.MAX_DIRECTORY_BYTES", 1000)
    path = write(tmp_path / "log.eval", [(f"{n}.json", {}) for n in range(100)])
    with pytest.raises(EvidenceError, match="more files than this farm reads"):
        RunLog(path)


def test_a_reader_can_set_tighter_limits(tmp_path: Path) -> None:
    path = write(tmp_path / "log.eval", [("header.json", HEADER)])
    with RunLog(path, LogLimits(directory=1000, file=1000, unpacked=1000)) as log:
        log.header()
    with RunLog(path, LogLimits(directory=1000, file=10, unpacked=1000)) as log, pytest.raises(EvidenceError):
        log.header()


def test_scores_are_those_of_each_sample_over_its_epochs(tmp_path: Path) -> None:
    values = {(1, 1): "C", (1, 2): "I", (2, 2): "C", (2, 1): "C", (3, 1): "C", (4, 1): "C", (4, 2): float("nan")}
    files: list[tuple[str, object]] = [
        (f"samples/{sample_id}_epoch_{epoch}.json", answer(sample_id, epoch, value))
        for (sample_id, epoch), value in values.items()
    ]
    with RunLog(write(tmp_path / "log.eval", files)) as log:
        found = run_scores(log.answers(), ["match"], [4, 3, 2, 1, 9], 2, "mean", own=None)
    # One epoch is missing of 3, one has no score of 4, and 9 never ran: no score, which is not 0.
    assert found.by_scorer == {"match": (None, None, 1.0, 0.5, None)}


def test_of_equally_frequent_scores_the_first_epochs_counts(tmp_path: Path) -> None:
    files: list[tuple[str, object]] = [("samples/b.json", answer(1, 2, "C")), ("samples/a.json", answer(1, 1, "I"))]
    with RunLog(write(tmp_path / "log.eval", files)) as log:
        assert run_scores(log.answers(), ["match"], [1], 2, "mode", own=None).by_scorer == {"match": (0.0,)}


def test_answers_that_the_context_cut_off_are_told_from_those_at_the_limit(tmp_path: Path) -> None:
    def ended(why: str, tokens: int) -> dict[str, Any]:
        usage = {"input_tokens": 9, "output_tokens": tokens, "total_tokens": 9 + tokens}
        message = {"role": "assistant", "content": "x"}
        return {"model": "m", "choices": [{"message": message, "stop_reason": why}], "usage": usage}

    outputs = [ended("max_tokens", 64), ended("max_tokens", 40), ended("stop", 10)]
    files: list[tuple[str, object]] = [
        (f"samples/{number}_epoch_1.json", answer(number, output=output)) for number, output in enumerate(outputs)
    ]
    with RunLog(write(tmp_path / "log.eval", files)) as log:
        found = run_scores(log.answers(), ["match"], [0, 1, 2], 1, "mean", own=None)
    assert (found.truncated, found.cut_by_context(64), found.cut_by_context(None)) == (2, 1, 2)


def test_missing_scores_are_no_numbers() -> None:
    assert mean_of([1.0, None, 0.5]) == 0.75
    assert mean_of([None]) is None
    assert standard_error_of([1.0, None]) is None
    assert standard_error_of([1.0, None, 0.0]) == pytest.approx(0.5)
